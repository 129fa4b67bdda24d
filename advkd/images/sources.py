"""Where pictures lie: a folder, or archives; what is listed of them, and how the bytes of one are read.

A source never holds more than one picture's bytes, or one batch of rows of a Parquet file.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from advkd.files import listing_stamp
from advkd.images.pictures import ENDINGS
from storage.objects import ObjectInfo, join, local_folder, read_bytes


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A listed picture."""

    key: str
    """Its name within the set; pictures are in the order of their keys."""
    size: int | None
    """Its size in bytes; None if it is not known before the picture is read."""


class Source(Protocol):
    """Listed pictures, in the order of their keys."""

    entries: Sequence[Entry]
    stamp: str
    """Hash of the places and their listing: changes with every upload."""
    parallel: bool
    """Whether `read` may be called by several threads, in any order."""

    def read(self, number: int) -> bytes:
        """Reads a picture; raises `BadPictureError` if it is damaged there."""


class FolderSource:
    """Pictures as objects below a prefix, at any depth."""

    parallel = True

    def __init__(self, uri: str, listed: Sequence[ObjectInfo]) -> None:
        self._uri = uri
        self.entries: Sequence[Entry] = [
            Entry(key=entry.key, size=entry.size) for entry in sorted(listed, key=lambda entry: entry.key)
        ]
        self.stamp = stamp([uri], listed)

    def read(self, number: int) -> bytes:
        """Reads a picture."""
        return read_bytes(join(self._uri, self.entries[number].key))


def stamp(uris: Sequence[str], listed: Sequence[ObjectInfo]) -> str:
    """Returns a hash of places and of what is listed there; two places may have listings that look the same."""
    folders = [local_folder(uri) for uri in uris]
    places = [uri if folder is None else str(folder.resolve()) for uri, folder in zip(uris, folders, strict=True)]
    return hashlib.sha256("\n".join([*places, listing_stamp(listed)]).encode("utf-8", "surrogateescape")).hexdigest()


def is_picture(key: str) -> bool:
    """Returns whether an object or a member of an archive is a picture by its name, and not hidden."""
    return key.lower().endswith(ENDINGS) and not is_hidden(key)


def is_hidden(key: str) -> bool:
    """Returns whether a part of a key begins with a dot, or is what macOS puts beside the pictures of an archive."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(key).parts)
