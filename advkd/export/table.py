"""The one table of exports: what a trained student can be written as, for others to run."""

from pathlib import Path

from advkd.export.artifact import export_diffusers
from advkd.export.executorch import export_executorch
from advkd.export.onnx import export_onnx
from advkd.export.requests import PRECISIONS, ExportSpec, Format
from advkd.files import publish, workplace
from advkd.students import fetched_student
from storage.tables import Table

DEFAULT = "onnx"
EXPORTS: Table[Format] = Table(
    "advkd.exports",
    "a format of exports",
    {
        DEFAULT: Format(write=export_onnx, precisions=PRECISIONS, states=True),
        "diffusers": Format(write=export_diffusers),
        "executorch": Format(write=export_executorch, states=True),
    },
)


def export_student(student: str, out: str, format: str = DEFAULT, spec: ExportSpec | None = None) -> str:
    """Writes a student in a format of the table, and returns where to.

    Args:
        student: folder or URI of a student.
        out: folder or URI; in an object store it is published whole.
        format: name of the row.
        spec: settings; None: those of `ExportSpec`.

    Raises:
        ValueError: no such format, settings that it cannot have, or credentials in a URI.
        StudentError: no usable student.
        ExportError: a package is missing, the format cannot express the student, or (`ParityError`) the export does
            not compute what the student computes.
        StoreError: the object store did not give the student or take the export.
        OSError: it cannot be written.
    """
    row = EXPORTS.choose(format, "an export's format")
    spec = spec or ExportSpec()
    row.check(format, spec)
    folder = Path(fetched_student(student))
    with workplace(out) as place:
        row.write(folder, place, spec)
        publish(place, out)
    return out
