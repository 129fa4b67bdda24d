"""A student in the forms that others run: a folder that diffusers loads without this package, and rows of packages."""

from advkd.export.artifact import artifact_digest, export_artifact
from advkd.export.lineage import Lineage, lineage_of, public_uri
from advkd.export.table import EXPORTS, export_student

__all__ = [
    "EXPORTS",
    "Lineage",
    "artifact_digest",
    "export_artifact",
    "export_student",
    "lineage_of",
    "public_uri",
]
