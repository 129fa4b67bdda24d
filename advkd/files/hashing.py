"""The sha256 of local files, read in blocks."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(folder: Path, paths: Iterable[Path]) -> str:
    """Returns the sha256 over names below the folder and contents, in the given order, 64 hex digits."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return sha.hexdigest()
