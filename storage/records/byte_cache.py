"""One bound for everything that a process keeps of what it read or made: who is used least goes first, whatever it is.

Keys are frozen dataclasses, so that no two kinds of them are ever equal.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import LRUCache

ENTRY_BYTES = 512
"""What an entry takes beside its value: key, links, the headers of small objects."""


class ByteCache:
    """A bounded LRU, counted in bytes. Thread-safe; two threads that miss at once both make the value.

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
        """Bytes of all that is held now."""
        return int(self._held.currsize)

    def get(self, key: Hashable) -> Any | None:
        """The value of a key if it is held."""
        with self._lock:
            return self._held.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Holds a value of so many bytes, and drop the oldest ones for it."""
        cost = size + ENTRY_BYTES
        with self._lock:
            self._held.pop(key, None)
            if cost <= self._held.maxsize:
                self._held[key] = value, cost

    def forget(self, where: Callable[[Hashable], bool]) -> None:
        """Drops what is held under some keys."""
        with self._lock:
            for key in [held for held in self._held if where(held)]:
                del self._held[key]
