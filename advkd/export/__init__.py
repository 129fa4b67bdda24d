"""A student in the forms that others run: ONNX, a folder that diffusers loads, and rows of packages."""

from advkd.export.artifact import artifact_digest, export_artifact
from advkd.export.cost_card import CostCard, cost_lines, read_cost
from advkd.export.front_matter import check_card, licensed
from advkd.export.kept import Export, export_for_devices
from advkd.export.lineage import Lineage, lineage_of, public_uri
from advkd.export.requests import ExportError, ExportSpec, Format, ParityError
from advkd.export.table import EXPORTS, export_student

__all__ = [
    "EXPORTS",
    "CostCard",
    "Export",
    "ExportError",
    "ExportSpec",
    "Format",
    "Lineage",
    "ParityError",
    "artifact_digest",
    "check_card",
    "cost_lines",
    "export_artifact",
    "export_for_devices",
    "export_student",
    "licensed",
    "lineage_of",
    "public_uri",
    "read_cost",
]
