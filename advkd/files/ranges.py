"""Opens an object at a URI for reading at any place: a file on disk, or an object store's object by ranges.

What reads an archive or an `.npz` by its index needs no more memory than the parts it asks for.
"""

import io
from typing import BinaryIO, cast

from storage.errors import StoreNotFoundError
from storage.objects import ObjectInfo, list_level, local_folder, read_range

BUFFER = 1 << 20


def object_info(uri: str) -> ObjectInfo | None:
    """Returns name, size and time of the object at a URI, None if there is none: one listing of what is beside it."""
    parent, _, name = uri.rpartition("/")
    if not name:
        return None
    root = parent or ("/" if uri.startswith("/") else ".")
    return next((entry for entry in list_level(root).objects if entry.key == name), None)


def opened(uri: str) -> BinaryIO:
    """Opens an object for reading; seeks cost nothing, and reads from object stores are at least 1 MiB.

    Raises:
        StoreNotFoundError: there is no object.
        StoreError: the object store does not answer.
    """
    path = local_folder(uri)
    if path is None:
        return cast(BinaryIO, io.BufferedReader(_Ranges(uri), BUFFER))
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise StoreNotFoundError(f"an object to read must exist, but there is no {uri}; check the URI") from error


class _Ranges(io.RawIOBase):
    """An object of an object store as a raw file."""

    def __init__(self, uri: str) -> None:
        info = object_info(uri)
        if info is None:
            raise StoreNotFoundError(f"an object to read must exist, but there is no {uri}; check the URI")
        self._uri = uri
        self._size = info.size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        stop = min(self._size, self._place + len(buffer))
        if stop <= self._place:
            return 0
        data = read_range(self._uri, self._place, stop)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
