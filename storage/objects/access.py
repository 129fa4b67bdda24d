"""Reads, writes, lists and deletes whole objects at URIs. The only access to disks and object stores.

A URI is a local path (`~` is the home folder), a `Path`, `file://` (percent-encoded), `s3://bucket/key`, `memory://`,
or of any other scheme that fsspec knows. A write is all or nothing: a local file gets its name by a rename, an S3
object by a single PUT. Leftovers of a killed write are never listed as objects; `list_leftovers` finds them.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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
    """Reads all bytes of an object; raises `StoreNotFoundError` if there is none."""
    objects, path = _locate(uri)
    return objects.read(path)


def read_range(uri: str, start: int, stop: int) -> bytes:
    """Reads the bytes start..stop-1 of an object in a single request; fewer, or none, if the object ends before.

    Raises:
        StoreNotFoundError: there is no object.
        ValueError: the range is not 0 <= start <= stop.
    """
    if not 0 <= start <= stop:
        raise ValueError(
            f"a range of bytes needs 0 <= start <= stop, got {start}..{stop}; count from the object's start"
        )
    objects, path = _locate(uri)
    return objects.read_range(path, start, stop)


def read_into(uri: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
    """Reads the bytes of an object into memory if it has the expected size: a scatter read.

    A record's word is not enough to allocate memory: `allocate` is called only when the object has this size.

    Args:
        uri: the object.
        size: its expected size in bytes.
        allocate: returns the parts to fill, in order: writable, contiguous, `size` bytes in total.

    Returns:
        The object's size in bytes. If it is not `size`, the contents of the parts (if any) are undefined.

    Raises:
        StoreNotFoundError: there is no object.
        ValueError: the parts do not add up to `size` bytes.
    """
    objects, path = _locate(uri)
    return objects.read_into(path, size, allocate)


def write_bytes(uri: str, data: bytes) -> None:
    """Creates or replaces an object, all or nothing: readers see either the old bytes or the new ones."""
    objects, path = _locate(uri)
    objects.write(path, data)


def create_bytes(uri: str, data: bytes) -> bool:
    """Creates an object unless it exists; returns whether this call created it.

    Of several concurrent callers only one gets True, on disk and on an S3 server with conditional writes. Elsewhere,
    two callers at the same moment may both get True.
    """
    objects, path = _locate(uri)
    return objects.create(path, data)


def exists(uri: str) -> bool:
    """Returns whether there is an object (not a folder) at this URI."""
    objects, path = _locate(uri)
    return objects.exists(path)


def delete(uri: str) -> None:
    """Removes an object if it exists. For a symbolic link, removes the link and not its target."""
    objects, path = _locate(uri)
    objects.delete(path)


def list_objects(uri: str, *, start_after: str = "") -> list[ObjectInfo]:
    """Lists all objects below a prefix, sorted by key; empty if there are none.

    Leaves out temporary files of unfinished local writes, and local folders behind symbolic links.

    Args:
        uri: the prefix; keys are relative to it.
        start_after: leave out this key and those before it; S3 then sends only the rest.
    """
    objects, path = _locate(uri)
    listed = (entry for entry in objects.entries(path, start_after) if entry.key > start_after)
    return sorted(listed, key=attrgetter("key"))


def list_prefix(uri: str) -> list[str]:
    """Lists the sorted keys of all objects below a prefix, relative to it; see `list_objects`."""
    return [entry.key for entry in list_objects(uri)]


def list_folders(uri: str) -> list[str]:
    """Lists the sorted names of the folders directly below a prefix; empty if there are none."""
    objects, path = _locate(uri)
    return sorted(objects.level(path).folders)


def list_level(uri: str) -> Level:
    """Lists the folders and objects directly below a prefix, by name; empty if there are none. See `list_objects`."""
    objects, path = _locate(uri)
    level = objects.level(path)
    return Level(sorted(level.folders), sorted(level.objects, key=attrgetter("key")))


def list_leftovers(uri: str) -> list[Leftover]:
    """Lists the unfinished writes below a prefix, sorted by key.

    They may be under way at this moment: only their age tells a leftover from a write that will finish. Local
    temporary files are found; elsewhere there are none.
    """
    objects, path = _locate(uri)
    return sorted(objects.leftovers(path), key=attrgetter("key", "started"))


def remove_leftover(uri: str, leftover: Leftover) -> None:
    """Removes a leftover that `list_leftovers` found at the same URI, unless it has disappeared or finished meanwhile.

    Raises:
        ValueError: the leftover belongs to another kind of storage.
    """
    objects, path = _locate(uri)
    objects.remove_leftover(path, leftover)


def local_folder(uri: str) -> Path | None:
    """Returns the path of a URI on this machine's disk, None if it lies elsewhere."""
    objects, path = _locate(uri)
    return Path(path) if objects is _LOCAL else None


def join(root: str, *parts: str) -> str:
    """Joins a root and parts to a URI below the root; parts may hold `/`, but neither `..` nor a leading `/`."""
    root = os.fspath(root)
    for part in parts:
        if part.startswith("/") or any(step in ("", ".", "..") for step in part.split("/")):
            raise ValueError(f"a part of a URI must lead downwards, got {part!r} below {root!r}; use plain names")
    base = root if root == "/" or root.endswith("://") else root.rstrip("/") + "/"
    return base + "/".join(parts) if parts else root.rstrip("/") or root


def read_json(uri: str) -> Any:
    """Reads the JSON value in an object; raises `StoreError` if it is no JSON."""
    try:
        return json.loads(read_bytes(uri))
    except ValueError as error:
        raise StoreError(f"{uri} must hold JSON, but it does not parse ({error}); delete it and run again") from error


def write_json(uri: str, value: object, *, indent: int | None = 2) -> None:
    """Writes a value as JSON, all or nothing; refuses NaN."""
    write_bytes(uri, (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode())


def _locate(uri: str) -> tuple[Objects, str]:
    uri = os.fspath(uri)
    scheme_match = _SCHEME.match(uri)
    if not scheme_match:
        return _LOCAL, str(Path(uri).expanduser()) if uri.startswith("~") else uri
    scheme = scheme_match.group(1).lower()
    path = uri[scheme_match.end() :]
    if scheme == "file":
        return _LOCAL, _path_of_file_uri(uri, path)
    if scheme == "s3":
        return _S3, path
    return FsspecObjects(scheme), path


def _path_of_file_uri(uri: str, place: str) -> str:
    host, slash, path = place.partition("/")
    if host not in ("", "localhost"):
        raise ValueError(
            f"a file:// URI must name a path of this machine, got the host {host!r} in {uri}; write file:///{place}, "
            "or a plain path"
        )
    return unquote(slash + path)
