"""What a distillation exports of a student: networks in float32 and, if it is close enough, in 8 bits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from advkd.export.cost_card import CostCard, read_cost, report_costs
from advkd.export.onnx import read_metadata_at
from advkd.export.requests import ExportError, ExportSpec
from advkd.export.table import export_student
from advkd.files import file_sha256
from advkd.students import fetched_student, student_files

DEPLOYED = ("fp32", "int8")


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export of a distillation.

    Attributes:
        uri: folder or URI of the export, "" if there is none.
        exported: whether this call wrote it; False if the same export was there.
        refused: why a network is missing; "" if none is.
        cost: what it costs; None if there is none.
    """

    uri: str
    exported: bool
    refused: str
    cost: CostCard | None


def export_for_devices(spec: ExportSpec) -> Export:
    """Exports a student for a registered version, unless the same export is there.

    A student that ONNX cannot express has no export, and one that 8 bits change too much has none of them: neither
    keeps it from being registered.

    Raises:
        StudentError: no usable student.
        StoreError: the object store did not give the student or take the export.
        OSError: it cannot be written.
    """
    wanted = replace(spec, precisions=DEPLOYED, optional=DEPLOYED[1:])
    if (kept := kept_export(wanted)) is not None:
        if spec.report is not None and kept.cost is not None:
            report_costs(spec.report, kept.cost)
        return kept
    try:
        uri = export_student(wanted)
    except ExportError as error:
        return Export(uri="", exported=False, refused=str(error), cost=None)
    return Export(uri=uri, exported=True, refused=_refused(read_metadata_at(uri)), cost=read_cost(uri))


def kept_export(spec: ExportSpec) -> Export | None:
    """Returns the export at `out` if it is of this student's weights and has all that is asked for; else None."""
    noted = read_metadata_at(spec.out)
    if noted is None:
        return None
    weights = file_sha256(student_files(fetched_student(spec.student)).weights)
    has = noted["student"]["sha256"] == weights and set(spec.precisions) <= {*noted["models"], *noted["refused"]}
    if not has or (spec.teacher is not None and not noted["asked_for_teacher"]):
        return None
    return Export(uri=spec.out, exported=False, refused=_refused(noted), cost=read_cost(spec.out))


def _refused(noted: Mapping[str, Any] | None) -> str:
    return "; ".join(noted["refused"].values()) if noted else ""
