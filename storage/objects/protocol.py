"""The protocol of a kind of storage, and its facts about finished objects and unfinished writes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """One finished object below a prefix."""

    key: str
    """Key of the object, relative to the prefix."""
    size: int
    """Size in bytes."""
    modified: float
    """When it was last written, in seconds since the epoch; infinity if unknown, so that it never counts as old."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """An unfinished write: either it still runs, or it was killed.

    Nobody reads it, and it takes up space: a temporary file on disk. Object stores have none, since every write to them
    is a single request.
    """

    key: str
    """Key of the temporary file, relative to the prefix."""
    started: float
    """When the temporary file was last written to, in seconds since the epoch."""
    size: int
    """Size so far in bytes."""


@dataclass(frozen=True)
class Level:
    """The folders and objects directly below a prefix."""

    folders: Sequence[str]
    """Names of the folders."""
    objects: Sequence[ObjectInfo]
    """The finished objects."""


class Objects(Protocol):
    """The operations of one kind of storage; paths come without their scheme."""

    def read(self, path: str) -> bytes:
        """Reads all bytes; raises `StoreNotFoundError` if there is no such object."""

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Reads the bytes start..stop-1, fewer if the object ends before; raises `StoreNotFoundError` without one."""

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """Returns the object's size; if it equals `size`, allocates the parts and reads its bytes into them."""

    def write(self, path: str, data: bytes) -> None:
        """Creates or replaces the object, all or nothing."""

    def create(self, path: str, data: bytes) -> bool:
        """Creates the object unless it exists; returns whether it was created."""

    def exists(self, path: str) -> bool:
        """Returns whether the object exists."""

    def delete(self, path: str) -> None:
        """Removes the object if it exists."""

    def entries(self, path: str, start_after: str) -> Iterable[ObjectInfo]:
        """Lists all objects below a prefix in any order; may leave out the keys up to `start_after`."""

    def level(self, path: str) -> Level:
        """Lists folders and objects directly below a prefix, in any order."""

    def leftovers(self, path: str) -> list[Leftover]:
        """Lists the unfinished writes below a prefix, in any order."""

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Removes an unfinished write below a prefix if it still exists."""
