"""The sha256 of a local file, read in blocks."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
