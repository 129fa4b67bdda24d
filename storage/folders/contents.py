"""What a published folder holds, as the object says that makes it one.

    <folder>/contents.json     names, sizes and sha256 of its files; the folder is there when this object is
    <folder>/unfinished.json   names of the files of a writer that is at work, or was killed; deleted last

An object store has no rename, so both are written in an order that leaves nothing unnamed: the names first, then the
files, then the contents. What a killed writer leaves is named by `unfinished.json`, and nothing else is ever removed.
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
    """One file."""

    bytes: int
    """Its size."""
    sha256: str
    """64 hex digits."""


@dataclass(frozen=True)
class FolderContents:
    """The files of a folder, by their names below it."""

    files: Mapping[str, FileFacts]

    @classmethod
    def of(cls, folder: Path) -> "FolderContents":
        """Measures a local folder; hidden files do not count."""
        files = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(step.startswith(".") for step in name.split("/")):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                files[name] = FileFacts(bytes=path.stat().st_size, sha256=digest)
        return cls(files)


def read_contents(uri: str) -> FolderContents | None:
    """What the folder at a URI holds; None if there is no folder, or one that is being written.

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
    """Makes the folder be there."""
    write_json(join(uri, CONTENTS), {"files": {name: asdict(facts) for name, facts in contents.files.items()}})


def read_unfinished(uri: str) -> list[str] | None:
    """The names that a writer has noted; None if none is at work. Names that no writer notes are left out."""
    try:
        names = read_json(join(uri, UNFINISHED))
    except StoreNotFoundError:
        return None
    return [name for name in names if isinstance(name, str) and leads_down(name)] if isinstance(names, list) else []


def write_unfinished(uri: str, names: Iterable[str]) -> None:
    """Notes what is going to be written or removed."""
    write_json(join(uri, UNFINISHED), sorted(names))


def leads_down(name: str) -> bool:
    """Whether a name is one of a file of the folder: below it, and none of its two records."""
    return name not in (CONTENTS, UNFINISHED) and all(step not in ("", ".", "..") for step in name.split("/"))
