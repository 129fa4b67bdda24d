"""A cache of whole objects in memory, in front of another source."""

import functools
import hashlib
import threading
from typing import Any

from cachetools import LRUCache

from storage.objects import byte_parts, fill
from storage.reading.sources import Allocate, ObjectSource
from storage.records import ObjectEntry


class MemoryCache:
    """Keeps the most recently used objects of a source in memory.

    In addition to `held_bytes`, each thread that reads a new object briefly holds one copy of it.

    Args:
        source: source of the objects that are not held.
        max_bytes: bound of `held_bytes`; larger objects are not kept.
    """

    def __init__(self, source: ObjectSource, max_bytes: int) -> None:
        self.hits = 0
        """Number of reads served from memory."""
        self.misses = 0
        """Number of reads passed on to the source."""
        self._source = source
        self._held: LRUCache[tuple[str, str], bytes] = LRUCache(max_bytes, getsizeof=len)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process starts empty: sending the objects would cost more than reading them again.
        return type(self), (self._source, self._held.maxsize)

    @property
    def held_bytes(self) -> int:
        """Size in bytes of all objects that are held now."""
        return int(self._held.currsize)

    def read_into(self, entry: ObjectEntry, allocate: Allocate) -> int:
        """See `ObjectSource.read_into`."""
        parts = functools.cache(lambda: byte_parts(allocate(), entry.size))
        held = self._look_up(entry)
        if held is not None:
            fill(parts(), held)
            return entry.size
        size = self._source.read_into(entry, parts)
        if size == entry.size <= self._held.maxsize:
            self._keep(entry, b"".join(parts()))
        return size

    def _look_up(self, entry: ObjectEntry) -> bytes | None:
        key = entry.key, entry.sha256
        with self._lock:
            held: bytes | None = self._held.get(key)
            if held is None:
                self.misses += 1
            else:
                self.hits += 1
            return held

    def _keep(self, entry: ObjectEntry, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            return
        key = entry.key, entry.sha256
        with self._lock:
            self._held.setdefault(key, data)
