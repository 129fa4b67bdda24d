"""What one kind of storage offers, and what it says about its objects, finished and unfinished."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """One finished object below a prefix."""

    key: str
    """Relative to the prefix."""
    size: int
    """Bytes."""
    modified: float
    """When it was last written, in seconds since the epoch.

    Infinity where the storage does not say: nothing there counts as old.
    """


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A write that has not finished: it goes on somewhere, or it never will.

    Nobody reads it, and it takes up space: a temporary file on disk. Object stores have none, since every write to them
    is a single request.
    """

    key: str
    """Of the temporary file, relative to the prefix."""
    started: float
    """When it was last written to, in seconds since the epoch."""
    size: int
    """Bytes so far."""


@dataclass(frozen=True)
class Level:
    """What lies right below a prefix."""

    folders: Sequence[str]
    """Names of the folders."""
    objects: Sequence[ObjectInfo]
    """The finished objects."""


class Objects(Protocol):
    """What one kind of storage offers; paths come without their scheme."""

    def read(self, path: str) -> bytes:
        """All bytes; `StoreNotFoundError` if there is no such object."""

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """The bytes start..stop-1, fewer if the object ends before; `StoreNotFoundError` if there is none."""

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """The object's size; if it is the one given, its bytes are in the parts allocated."""

    def write(self, path: str, data: bytes) -> None:
        """Create or replace the object, all or nothing."""

    def create(self, path: str, data: bytes) -> bool:
        """Create the object unless there is one; whether it was."""

    def exists(self, path: str) -> bool:
        """Whether the object is there."""

    def delete(self, path: str) -> None:
        """Remove the object if it is there."""

    def entries(self, path: str, start_after: str) -> Iterable[ObjectInfo]:
        """All objects below a prefix in any order; those up to `start_after` may be left out."""

    def level(self, path: str) -> Level:
        """What lies right below a prefix, in any order."""

    def leftovers(self, path: str) -> list[Leftover]:
        """Unfinished writes below a prefix, in any order."""

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Remove an unfinished write below a prefix if it is there still."""
