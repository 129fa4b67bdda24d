"""Objects of any other fsspec scheme (`memory://`, `gs://`, `abfs://`, ...), as that implementation offers them.

All-or-nothing writes are only as good as the implementation's `pipe_file`.
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
"""What implementations call the time of an object's last write; objects are replaced whole, so creation is one too."""


class FsspecObjects:
    """Objects behind one fsspec scheme; the file system is opened by each process for itself."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def read(self, path: str) -> bytes:
        """All bytes of an object."""
        try:
            return bytes(self._open().cat_file(path))
        except OSError as error:
            raise self._translated(path, error) from error

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """The bytes start..stop-1 of an object."""
        try:
            return bytes(self._open().cat_file(path, start=start, end=stop))
        except OSError as error:
            raise self._translated(path, error) from error

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """The size of an object; if it is the one given, its bytes are in the parts allocated."""
        data = self.read(path)
        if len(data) == size:
            fill(byte_parts(allocate(), size), data)
        return len(data)

    def write(self, path: str, data: bytes) -> None:
        """Create or replace an object in one call."""
        try:
            self._open().pipe_file(path, bytes(data))
        except OSError as error:
            raise self._translated(path, error) from error

    def create(self, path: str, data: bytes) -> bool:
        """Create an object unless one is seen; not atomic."""
        if self.exists(path):
            return False
        self.write(path, data)
        return True

    def exists(self, path: str) -> bool:
        """Whether the object is there."""
        try:
            return bool(self._open().isfile(path))
        except OSError as error:
            raise self._translated(path, error) from error

    def delete(self, path: str) -> None:
        """Remove the object if it is there."""
        try:
            self._open().rm_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._translated(path, error) from error

    def entries(self, path: str, start_after: str) -> Iterator[ObjectInfo]:
        """All objects below a prefix."""
        prefix = path.strip("/") + "/" if path.strip("/") else ""
        try:
            found = self._open().find(path, detail=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._translated(path, error) from error
        for name, info in found.items():
            key = name.lstrip("/")
            if key.startswith(prefix):
                yield ObjectInfo(key=key.removeprefix(prefix), size=info["size"], modified=_modified(info))

    def level(self, path: str) -> Level:
        """Folders and objects right below a prefix."""
        try:
            found = self._open().ls(path, detail=True)
        except FileNotFoundError:
            return Level((), ())
        except OSError as error:
            raise self._translated(path, error) from error
        named = [(entry["name"].rstrip("/").rsplit("/", 1)[-1], entry) for entry in found]
        objects = [
            ObjectInfo(key=name, size=entry["size"], modified=_modified(entry))
            for name, entry in named
            if entry["type"] == "file"
        ]
        return Level([name for name, entry in named if entry["type"] == "directory"], objects)

    def leftovers(self, path: str) -> list[Leftover]:
        """None: fsspec has no word for writes that have not finished."""
        return []

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Refused: there are none."""
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
    found = next((info[name] for name in _MODIFIED if info.get(name) is not None), None)
    if isinstance(found, str):
        try:
            found = datetime.datetime.fromisoformat(found)
        except ValueError:
            return math.inf
    if isinstance(found, datetime.datetime):
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    return float(found) if isinstance(found, (int, float)) else math.inf
