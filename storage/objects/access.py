"""Whole objects under a URI: read, write atomically, list, delete. The only door to disks and object stores.

A URI is a local path, `file://`, `s3://bucket/key`, `memory://`, or any other scheme that fsspec knows. A write is
all or nothing: a local file appears under its name by rename, an S3 object by a single PUT. What a killed write
leaves behind is never listed as an object; `list_leftovers` finds it.
"""

import json
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from storage.errors import StoreError
from storage.objects.fsspec import FsspecObjects
from storage.objects.local import LocalObjects
from storage.objects.protocol import Leftover, Level, ObjectInfo, Objects
from storage.objects.s3 import S3Objects

__all__ = [
    "Leftover",
    "Level",
    "ObjectInfo",
    "Objects",
    "create_bytes",
    "delete",
    "exists",
    "join",
    "list_folders",
    "list_leftovers",
    "list_level",
    "list_objects",
    "list_prefix",
    "local_folder",
    "read_bytes",
    "read_into",
    "read_json",
    "read_range",
    "remove_leftover",
    "write_bytes",
    "write_json",
]

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


_LOCAL = LocalObjects()
_S3 = S3Objects()


def read_bytes(uri: str) -> bytes:
    """All bytes of an object; `StoreNotFoundError` if there is none."""
    objects, path = _locate(uri)
    return objects.read(path)


def read_range(uri: str, start: int, stop: int) -> bytes:
    """The bytes start..stop-1 of an object, in a single request; fewer, or none, if the object ends before.

    Raises:
        StoreNotFoundError: There is no object.
        ValueError: Not 0 <= start <= stop.
    """
    if not 0 <= start <= stop:
        raise ValueError(
            f"a range of bytes needs 0 <= start <= stop, got {start}..{stop}; count from the object's start"
        )
    objects, path = _locate(uri)
    return objects.read_range(path, start, stop)


def read_into(uri: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
    """Lay the bytes of an object into memory, if it is as long as expected: a scatter read.

    Nothing is allocated on the word of a record: `allocate` is called once the object's size is known and right.

    Args:
        uri: The object.
        size: Its expected size in bytes.
        allocate: Gives the parts to fill, in order; writable, contiguous, `size` bytes together.

    Returns:
        The object's size in bytes. If it is not `size`, the parts (if any) hold nothing of use.

    Raises:
        StoreNotFoundError: There is no object.
        ValueError: The parts do not add up to `size` bytes.
    """
    objects, path = _locate(uri)
    return objects.read_into(path, size, allocate)


def write_bytes(uri: str, data: bytes) -> None:
    """Create or replace an object, all or nothing: a reader sees the old bytes or the new ones."""
    objects, path = _locate(uri)
    objects.write(path, data)


def create_bytes(uri: str, data: bytes) -> bool:
    """Create an object unless there is one already, and tell whether it was; of several callers one is told so.

    That much is certain on disk and on an S3 server with conditional writes. Elsewhere two callers that ask in the
    same moment may both be told that they were the one.
    """
    objects, path = _locate(uri)
    return objects.create(path, data)


def exists(uri: str) -> bool:
    """Whether there is an object (not a folder) at this URI."""
    objects, path = _locate(uri)
    return objects.exists(path)


def delete(uri: str) -> None:
    """Remove an object; one that is not there is no error. Of a symbolic link, the link and not what it leads to."""
    objects, path = _locate(uri)
    objects.delete(path)


def list_objects(uri: str, *, start_after: str = "") -> list[ObjectInfo]:
    """All objects below a prefix, sorted by key; empty if there is nothing.

    Temporary files of unfinished local writes are left out, and so are local folders behind symbolic links.

    Args:
        uri: The prefix; keys are relative to it.
        start_after: Leave out the keys up to and with this one. S3 then sends the rest only.
    """
    objects, path = _locate(uri)
    found = (entry for entry in objects.entries(path, start_after) if entry.key > start_after)
    return sorted(found, key=attrgetter("key"))


def list_prefix(uri: str) -> list[str]:
    """Sorted keys of all objects below a prefix, relative to it; empty if there is nothing. See `list_objects`."""
    return [entry.key for entry in list_objects(uri)]


def list_folders(uri: str) -> list[str]:
    """Sorted names of the folders right below a prefix; empty if there is nothing."""
    objects, path = _locate(uri)
    return sorted(objects.level(path).folders)


def list_level(uri: str) -> Level:
    """The folders and objects right below a prefix, by name; empty if there is nothing. See `list_objects`."""
    objects, path = _locate(uri)
    found = objects.level(path)
    return Level(sorted(found.folders), sorted(found.objects, key=attrgetter("key")))


def list_leftovers(uri: str) -> list[Leftover]:
    """Writes below a prefix that have begun and not finished, sorted by key.

    They may be under way at this moment: only their age tells a leftover from a write that will finish. Local
    temporary files are found; elsewhere there are none.
    """
    objects, path = _locate(uri)
    return sorted(objects.leftovers(path), key=attrgetter("key", "started"))


def remove_leftover(uri: str, leftover: Leftover) -> None:
    """Remove what `list_leftovers` of the same URI found; no error if it has gone or finished meanwhile.

    Raises:
        ValueError: The leftover is none of this kind of storage.
    """
    objects, path = _locate(uri)
    objects.remove_leftover(path, leftover)


def local_folder(uri: str) -> Path | None:
    """The path that a URI is on this machine's disk, None if it lies elsewhere."""
    objects, path = _locate(uri)
    return Path(path) if objects is _LOCAL else None


def join(root: str, *parts: str) -> str:
    """The URI of something below a root; parts may hold `/` but neither `..` nor a leading `/`."""
    for part in parts:
        if part.startswith("/") or any(step in ("", ".", "..") for step in part.split("/")):
            raise ValueError(f"a part of a URI must lead downwards, got {part!r} below {root!r}; use plain names")
    base = root if root == "/" or root.endswith("://") else root.rstrip("/") + "/"
    return base + "/".join(parts) if parts else root.rstrip("/") or root


def read_json(uri: str) -> Any:
    """The JSON value in an object; `StoreError` if it is no JSON."""
    try:
        return json.loads(read_bytes(uri))
    except ValueError as error:
        raise StoreError(f"{uri} must hold JSON, but it does not parse ({error}); delete it and run again") from error


def write_json(uri: str, value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON, all or nothing; NaN is refused."""
    write_bytes(uri, (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode())


def _locate(uri: str) -> tuple[Objects, str]:
    found = _SCHEME.match(uri)
    if not found:
        return _LOCAL, uri
    scheme = found.group(1).lower()
    path = uri[found.end() :]
    if scheme == "file":
        return _LOCAL, path
    if scheme == "s3":
        return _S3, path
    return FsspecObjects(scheme), path
