"""Where the objects of one store come from: the store itself, or a cache in front of it.

A source gives whole objects, laid into memory that the caller owns, and promises nothing about their content: whoever
reads compares sizes and hashes with the record (law 5). A cache only keeps what has the hash of its record, so one
damaged read is never repeated from it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from storage.objects import join, read_into
from storage.records import ObjectEntry

Allocate: TypeAlias = Callable[[], Sequence[memoryview]]
"""Gives the parts to fill: writable, contiguous, as many bytes together as the object has."""


class ObjectSource(Protocol):
    """Where the objects of one store come from. Thread-safe, picklable for spawned processes."""

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """Lay the bytes of an object into memory, if it is as long as its record says: see `objects.read_into`.

        Returns:
            The size found, in bytes. If it is not `entry.size`, the parts (if any) hold nothing of use.

        Raises:
            StoreNotFoundError: There is no object.
        """


class DirectSource:
    """The store at a URI, without a cache."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """See `ObjectSource.read_into`."""
        return read_into(join(self.uri, entry.key), entry.size, allocate)
