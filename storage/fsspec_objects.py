"""Objects of any other fsspec scheme (`memory://`, `gs://`, `abfs://`, ...), as that implementation offers them.

All-or-nothing writes are only as good as the implementation's `pipe_file`.
"""

from typing import Any

import fsspec

from storage.errors import StoreError, StoreNotFoundError, StorePermissionError, StoreUnreachableError


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

    def write(self, path: str, data: bytes) -> None:
        """Create or replace an object in one call."""
        try:
            self._open().pipe_file(path, bytes(data))
        except OSError as error:
            raise self._translated(path, error) from error

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

    def keys(self, path: str) -> list[str]:
        """All keys below a prefix, relative to it."""
        prefix = path.strip("/") + "/"
        try:
            found = self._open().find(path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._translated(path, error) from error
        return sorted(key.lstrip("/").removeprefix(prefix) for key in found)

    def folders(self, path: str) -> list[str]:
        """Folders right below a prefix."""
        try:
            found = self._open().ls(path, detail=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._translated(path, error) from error
        return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in found if entry["type"] == "directory")

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
