"""A student as a folder that diffusers loads without this package."""

from advkd.export.artifact import artifact_digest, export_artifact
from advkd.export.lineage import Lineage, lineage_of, public_uri

__all__ = [
    "Lineage",
    "artifact_digest",
    "export_artifact",
    "lineage_of",
    "public_uri",
]
