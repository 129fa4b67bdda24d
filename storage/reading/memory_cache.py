"""A cache of whole objects in memory, in front of another source."""

import functools
import hashlib
import threading
from collections import OrderedDict
from typing import Any

from storage.objects import byte_parts, fill
from storage.reading.sources import Allocate, ObjectSource
from storage.records import ObjectEntry


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
