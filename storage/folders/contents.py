"""The records of a published folder.

    <folder>/contents.json     names, sizes and sha256 of its files; the folder exists once this object exists
    <folder>/unfinished.json   names of the files of a writer that is running, or was killed; deleted last

An object store has no rename, so a writer first writes the names, then the files, then the contents. So
`unfinished.json` names all leftovers of a killed writer, and nothing else is removed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.errors import FolderDamagedError, StoreNotFoundError
from storage.objects import join, read_json, write_json

CONTENTS = "contents.json"
UNFINISHED = "unfinished.json"


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Facts of a file."""

    bytes: int
    """Size of the file in bytes."""
    sha256: str
    """sha256 of the file, 64 hex digits."""


@dataclass(frozen=True)
class FolderContents:
    """The files of a folder, by name relative to the folder."""

    files: Mapping[str, FileFacts]

    @classmethod
    def of(cls, folder: Path) -> "FolderContents":
        """Measures the files of a local folder, without hidden ones."""
        files = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(step.startswith(".") for step in name.split("/")):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                files[name] = FileFacts(bytes=path.stat().st_size, sha256=digest)
        return cls(files)


def read_contents(uri: str) -> FolderContents | None:
    """Reads the contents of the folder at a URI; returns None if there is no folder, or it is unfinished.

    Raises:
        FolderDamagedError: the record is malformed.
    """
    try:
        record = read_json(join(uri, CONTENTS))
    except StoreNotFoundError:
        return None
    try:
        files = {name: FileFacts(**facts) for name, facts in record["files"].items()}
        plain = all(isinstance(entry.bytes, int) and isinstance(entry.sha256, str) for entry in files.values())
    except (TypeError, KeyError, AttributeError):
        plain = False
    if not plain or not all(map(leads_down, files)):
        raise FolderDamagedError(
            f"{CONTENTS} must name the files of its folder with bytes and sha256, got something else in {uri}; remove "
            "that folder and run again"
        )
    return FolderContents(files)


def write_contents(uri: str, contents: FolderContents) -> None:
    """Writes the contents, which completes the folder."""
    write_json(join(uri, CONTENTS), {"files": {name: asdict(facts) for name, facts in contents.files.items()}})


def read_unfinished(uri: str) -> list[str] | None:
    """Reads the names of a writer's files; returns None without a note. Leaves out names that no writer would note."""
    try:
        names = read_json(join(uri, UNFINISHED))
    except StoreNotFoundError:
        return None
    return [name for name in names if isinstance(name, str) and leads_down(name)] if isinstance(names, list) else []


def write_unfinished(uri: str, names: Iterable[str]) -> None:
    """Notes the files that a writer is going to write or remove."""
    write_json(join(uri, UNFINISHED), sorted(names))


def leads_down(name: str) -> bool:
    """Returns whether a name may be that of a file: below the folder, and not one of the two records."""
    return name not in (CONTENTS, UNFINISHED) and all(step not in ("", ".", "..") for step in name.split("/"))
