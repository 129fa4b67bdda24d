"""One bound for everything that a process keeps of what it read or made: who is used least goes first, whatever it is.

Keys are frozen dataclasses, so that no two kinds of them are ever equal.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

ENTRY_BYTES = 512
"""What an entry takes beside its value: key, links, the headers of small objects."""


class ByteCache:
    """A bounded LRU, counted in bytes. Thread-safe; two threads that miss at once both make the value.

    Args:
        max_bytes: Bound of `held_bytes`; a larger value is not kept.

    Raises:
        ValueError: The bound is not positive.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"ByteCache.max_bytes must be positive, got {max_bytes}; give readers none instead")
        self.held_bytes = 0
        """Bytes of all that is held now."""
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any | None:
        """The value of a key if it is held."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Hold a value of so many bytes, and drop the oldest ones for it."""
        cost = size + ENTRY_BYTES
        with self._lock:
            self._drop(key)
            if cost > self._max_bytes:
                return
            self._held[key] = value, cost
            self.held_bytes += cost
            while self.held_bytes > self._max_bytes:
                self.held_bytes -= self._held.popitem(last=False)[1][1]

    def forget(self, where: Callable[[Hashable], bool]) -> None:
        """Drop what is held under some keys."""
        with self._lock:
            for key in [one for one in self._held if where(one)]:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._held:
            self.held_bytes -= self._held.pop(key)[1]
