"""Keeps values of any kind that a process has read or computed, under one bound; drops the least recently used first.

Keys are frozen dataclasses, so keys of different kinds are never equal.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import LRUCache

ENTRY_BYTES = 512
"""Bytes of an entry in addition to its value: key, links, headers of small objects."""


class ByteCache:
    """An LRU cache with a bound in bytes. Thread-safe; two threads that miss at the same moment both compute the value.

    Args:
        max_bytes: bound of `held_bytes`; a larger value is not kept.

    Raises:
        ValueError: the bound is not positive.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"ByteCache.max_bytes must be positive, got {max_bytes}; give readers none instead")
        self._held: LRUCache[Hashable, tuple[Any, int]] = LRUCache(max_bytes, getsizeof=lambda held: held[1])
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of all values that are held now."""
        return int(self._held.currsize)

    def get(self, key: Hashable) -> Any | None:
        """Returns the value of a key, None if it is not held."""
        with self._lock:
            return self._held.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keeps a value of `size` bytes, and drops the least recently used ones to make room."""
        cost = size + ENTRY_BYTES
        with self._lock:
            self._held.pop(key, None)
            if cost <= self._held.maxsize:
                self._held[key] = value, cost

    def forget(self, where: Callable[[Hashable], bool]) -> None:
        """Drops the values whose keys satisfy `where`."""
        with self._lock:
            for key in [held for held in self._held if where(held)]:
                del self._held[key]
