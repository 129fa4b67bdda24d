"""Whole objects under a URI: read, write atomically, list, delete. The only door to disks and object stores.

A URI is a local path, `file://`, `s3://bucket/key`, `memory://`, or any other scheme that fsspec knows. A write is
all or nothing: a local file appears under its name by rename, an S3 object by a single PUT.
"""

import json
import re
from typing import Any, Protocol

from storage.errors import StoreError
from storage.fsspec_objects import FsspecObjects
from storage.local_objects import LocalObjects
from storage.s3_objects import S3Objects

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


class Objects(Protocol):
    """What one kind of storage offers; paths come without their scheme."""

    def read(self, path: str) -> bytes:
        """All bytes; `StoreNotFoundError` if there is no such object."""

    def write(self, path: str, data: bytes) -> None:
        """Create or replace the object, all or nothing."""

    def exists(self, path: str) -> bool:
        """Whether the object is there."""

    def delete(self, path: str) -> None:
        """Remove the object if it is there."""

    def keys(self, path: str) -> list[str]:
        """Sorted keys of all objects below a prefix, relative to it."""

    def folders(self, path: str) -> list[str]:
        """Sorted names of the folders right below a prefix."""


_LOCAL = LocalObjects()
_S3 = S3Objects()


def read_bytes(uri: str) -> bytes:
    """All bytes of an object; `StoreNotFoundError` if there is none."""
    objects, path = _locate(uri)
    return objects.read(path)


def write_bytes(uri: str, data: bytes) -> None:
    """Create or replace an object, all or nothing: a reader sees the old bytes or the new ones."""
    objects, path = _locate(uri)
    objects.write(path, data)


def exists(uri: str) -> bool:
    """Whether there is an object (not a folder) at this URI."""
    objects, path = _locate(uri)
    return objects.exists(path)


def delete(uri: str) -> None:
    """Remove an object; one that is not there is no error."""
    objects, path = _locate(uri)
    objects.delete(path)


def list_prefix(uri: str) -> list[str]:
    """Sorted keys of all objects below a prefix, relative to it; empty if there is nothing.

    Temporary files of unfinished local writes are left out.
    """
    objects, path = _locate(uri)
    return objects.keys(path)


def list_folders(uri: str) -> list[str]:
    """Sorted names of the folders right below a prefix; empty if there is nothing."""
    objects, path = _locate(uri)
    return objects.folders(path)


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
