"""Sources of the objects of one store: the store itself, or a cache in front of it.

A source reads whole objects into memory that the caller owns. It does not check their content: the caller compares
sizes and hashes with the record (law 5). A cache keeps only objects with the hash in their record, so it never repeats
a damaged read.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from storage.objects import join, read_into
from storage.records import ObjectEntry

Allocate: TypeAlias = Callable[[], Sequence[memoryview]]
"""Returns the parts to fill: writable, contiguous, together as large as the object."""


class ObjectSource(Protocol):
    """A source of the objects of one store. Thread-safe, picklable for spawned processes."""

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """Reads the bytes of an object into memory if it has the size in its record; see `objects.read_into`.

        Returns:
            The object's size in bytes. If it is not `entry.size`, the contents of the parts (if any) are undefined.

        Raises:
            StoreNotFoundError: there is no object.
        """


class DirectSource:
    """Reads from the store at a URI, without a cache."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """See `ObjectSource.read_into`."""
        return read_into(join(self.uri, entry.key), entry.size, allocate)
