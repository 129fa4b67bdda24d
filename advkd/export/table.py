"""The one table of exports: what a trained student can be written as, for others to run."""

from pathlib import Path

from advkd.export.artifact import export_diffusers
from advkd.export.cost_card import read_cost, report_costs
from advkd.export.executorch import export_executorch
from advkd.export.onnx import export_onnx
from advkd.export.requests import DEFAULT, PRECISIONS, ExportSpec, Format
from advkd.export.web import export_web
from advkd.files import publish, workplace
from advkd.students import fetched_student
from storage.tables import Table

EXPORTS: Table[Format] = Table(
    "advkd.exports",
    "a format of exports",
    {
        DEFAULT: Format(write=export_onnx, precisions=PRECISIONS, states=True),
        "web": Format(write=export_web, precisions=PRECISIONS, states=True, page=True),
        "diffusers": Format(write=export_diffusers),
        "executorch": Format(write=export_executorch, states=True),
    },
)


def export_student(spec: ExportSpec) -> str:
    """Writes a student in a format of the table, and returns where to.

    Raises:
        ValueError: no such format, or settings that it cannot have.
        StudentError: no usable student.
        ExportError: a package is missing, the format cannot express the student, or (`ParityError`) the export does
            not compute what the student computes.
        EvaluationError: there is no evaluation to add costs to.
        StoreError: the object store did not give the student or take the export.
        OSError: it cannot be written.
    """
    row = EXPORTS.choose(spec.format, "an export's format")
    row.check(spec)
    folder = Path(fetched_student(spec.student))
    with workplace(spec.out) as place:
        row.write(folder, place, spec)
        publish(place, spec.out)
    if spec.report is not None and (card := read_cost(spec.out)) is not None:
        report_costs(spec.report, card)
    return spec.out
