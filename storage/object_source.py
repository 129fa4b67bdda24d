"""Where the objects of one store come from: the store itself, or a cache in front of it.

A source gives whole objects, laid into memory that the caller owns, and promises nothing about their content: whoever
reads compares sizes and hashes with the record (law 5). A cache only keeps what has the hash of its record, so one
damaged read is never repeated from it.
"""

import functools
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from storage.disk_cache import DiskCache
from storage.objects import join, read_into
from storage.records import ObjectEntry
from storage.scatter import byte_parts, fill

DEFAULT_MEMORY_BYTES = 2 * 2**30
"""Bound of a cache in memory, per reader."""

DEFAULT_DISK_BYTES = 50 * 2**30
"""Bound of a cache on disk, over all that share its folder."""

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


class MemoryCache:
    """Keeps the most recently used objects of a source in memory.

    Beside `held_bytes`, each thread that is reading a new object holds one copy of it for a moment.

    Args:
        source: What is asked for objects that are not held.
        max_bytes: Bound of `held_bytes`; larger objects are passed through.
    """

    def __init__(self, source: ObjectSource, max_bytes: int) -> None:
        self.held_bytes = 0
        """Bytes of all objects held now."""
        self.hits = 0
        """Reads served from memory."""
        self.misses = 0
        """Reads passed on to the source."""
        self._source = source
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process starts empty: sending the objects would cost more than reading them again.
        return type(self), (self._source, self._max_bytes)

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """See `ObjectSource.read_into`."""
        parts = functools.cache(lambda: byte_parts(allocate(), entry.size))
        held = self._look_up(entry)
        if held is not None:
            fill(parts(), held)
            return entry.size
        found = self._source.read_into(entry, parts)
        if found == entry.size <= self._max_bytes:
            self._keep(entry, b"".join(parts()))
        return found

    def _look_up(self, entry: ObjectEntry) -> bytes | None:
        key = entry.key, entry.sha256
        with self._lock:
            held = self._held.get(key)
            if held is None:
                self.misses += 1
            else:
                self.hits += 1
                self._held.move_to_end(key)
            return held

    def _keep(self, entry: ObjectEntry, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            return
        key = entry.key, entry.sha256
        with self._lock:
            if key in self._held:
                return
            while self.held_bytes + len(data) > self._max_bytes:
                _, oldest = self._held.popitem(last=False)
                self.held_bytes -= len(oldest)
            self._held[key] = data
            self.held_bytes += len(data)


def object_source(
    uri: str, cache: str, *, cache_bytes: int | None = None, cache_folder: str | None = None
) -> ObjectSource:
    """The objects of the store at a URI, through a cache chosen by name.

    Args:
        uri: The store.
        cache: `none`, `memory` (of this reader alone) or `disk` (shared by all processes, stores and runs).
        cache_bytes: Bound of the cache, `DEFAULT_MEMORY_BYTES` or `DEFAULT_DISK_BYTES` if None.
        cache_folder: Of a cache on disk, `default_cache_folder()` if None.

    Raises:
        ValueError: An unknown cache, or a bound that is not positive.
        StorePermissionError: The folder of a cache on disk cannot be made, written or locked.
    """
    if cache not in CACHES:
        raise ValueError(f"a cache must be one of {CACHES}, got {cache!r}; choose one of them")
    if cache_bytes is not None and cache_bytes < 1:
        raise ValueError(
            f"cache_bytes must be positive, got {cache_bytes}; use None for the default, or cache='none' for no cache"
        )
    return _MADE[cache](DirectSource(uri), cache_bytes, cache_folder)


def default_cache_folder() -> str:
    """`$ADVKD_CACHE`, else `advkd` in `$XDG_CACHE_HOME`, else `~/.cache/advkd`."""
    chosen = os.environ.get("ADVKD_CACHE")
    return chosen or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "advkd")


def _uncached(source: ObjectSource, _bytes: int | None, _folder: str | None) -> ObjectSource:
    return source


def _in_memory(source: ObjectSource, cache_bytes: int | None, _folder: str | None) -> ObjectSource:
    return MemoryCache(source, cache_bytes or DEFAULT_MEMORY_BYTES)


def _on_disk(source: ObjectSource, cache_bytes: int | None, folder: str | None) -> ObjectSource:
    return DiskCache(source, folder or default_cache_folder(), cache_bytes or DEFAULT_DISK_BYTES)


_MADE = {"none": _uncached, "memory": _in_memory, "disk": _on_disk}
CACHES = tuple(_MADE)
"""Names of the caches."""
