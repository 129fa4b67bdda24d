"""Objects of any other fsspec scheme (`memory://`, `gs://`, `abfs://`, ...).

Writes are all or nothing only if the implementation's `pipe_file` is.
"""

import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fsspec

from storage.errors import StoreError, StoreNotFoundError, StorePermissionError, StoreUnreachableError
from storage.objects.protocol import Leftover, Level, ObjectInfo
from storage.objects.scatter import byte_parts, fill

_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Names that implementations give to the time of the last write; objects are replaced whole, so creation counts."""


class FsspecObjects:
    """Objects of one fsspec scheme; each process opens the file system for itself."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def read(self, path: str) -> bytes:
        """Reads all bytes of an object."""
        try:
            return bytes(self._open().cat_file(path))
        except OSError as error:
            raise self._translated(path, error) from error

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Reads the bytes start..stop-1 of an object."""
        try:
            return bytes(self._open().cat_file(path, start=start, end=stop))
        except OSError as error:
            raise self._translated(path, error) from error

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """Returns the size of an object; if it equals `size`, reads its bytes into the allocated parts."""
        data = self.read(path)
        if len(data) == size:
            fill(byte_parts(allocate(), size), data)
        return len(data)

    def write(self, path: str, data: bytes) -> None:
        """Creates or replaces an object in one call."""
        try:
            self._open().pipe_file(path, bytes(data))
        except OSError as error:
            raise self._translated(path, error) from error

    def create(self, path: str, data: bytes) -> bool:
        """Creates an object unless it exists; not atomic."""
        if self.exists(path):
            return False
        self.write(path, data)
        return True

    def exists(self, path: str) -> bool:
        """Returns whether the object exists."""
        try:
            return bool(self._open().isfile(path))
        except OSError as error:
            raise self._translated(path, error) from error

    def delete(self, path: str) -> None:
        """Removes the object if it exists."""
        try:
            self._open().rm_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._translated(path, error) from error

    def entries(self, path: str, start_after: str) -> Iterator[ObjectInfo]:
        """Yields all objects below a prefix."""
        prefix = path.strip("/") + "/" if path.strip("/") else ""
        try:
            infos = self._open().find(path, detail=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._translated(path, error) from error
        for name, info in infos.items():
            key = name.lstrip("/")
            if key.startswith(prefix):
                yield ObjectInfo(key=key.removeprefix(prefix), size=info["size"], modified=_modified(info))

    def level(self, path: str) -> Level:
        """Lists folders and objects directly below a prefix."""
        try:
            infos = self._open().ls(path, detail=True)
        except FileNotFoundError:
            return Level((), ())
        except OSError as error:
            raise self._translated(path, error) from error
        named = [(entry["name"].rstrip("/").rsplit("/", 1)[-1], entry) for entry in infos]
        objects = [
            ObjectInfo(key=name, size=entry["size"], modified=_modified(entry))
            for name, entry in named
            if entry["type"] == "file"
        ]
        return Level([name for name, entry in named if entry["type"] == "directory"], objects)

    def leftovers(self, path: str) -> list[Leftover]:
        """Returns none: fsspec does not list unfinished writes."""
        return []

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Refuse: fsspec lists no unfinished writes."""
        raise ValueError(f"{self._scheme}:// lists no unfinished writes, got {leftover}; remove it with its own tools")

    def _open(self) -> Any:
        try:
            return fsspec.filesystem(self._scheme, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"a store URI needs a scheme that fsspec can open, got {self._scheme}://: {error}; "
                "use a local path or s3://, or install the package that fsspec names"
            ) from error

    def _translated(self, path: str, error: OSError) -> StoreError:
        uri = f"{self._scheme}://{path}"
        if isinstance(error, FileNotFoundError):
            return StoreNotFoundError(f"an object to read must exist, but there is no {uri}; check the URI")
        if isinstance(error, PermissionError):
            return StorePermissionError(f"{uri} may not be accessed with these credentials; check them")
        if isinstance(error, (ConnectionError, TimeoutError)):
            return StoreUnreachableError(f"{uri} must be reachable, got {type(error).__name__}; check the network")
        return StoreError(f"{uri} failed with {type(error).__name__}; check the URI and the service")


def _modified(info: dict[str, Any]) -> float:
    modified = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(modified, str):
        try:
            modified = datetime.datetime.fromisoformat(modified)
        except ValueError:
            return math.inf
    if isinstance(modified, datetime.datetime):
        return (modified if modified.tzinfo else modified.replace(tzinfo=datetime.UTC)).timestamp()
    return float(modified) if isinstance(modified, (int, float)) else math.inf
