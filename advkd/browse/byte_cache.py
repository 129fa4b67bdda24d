"""A bounded LRU of what was computed for pages: finished pictures and answers, counted in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteCache(Generic[T]):
    """Keeps what was asked for last. Thread-safe; two threads that miss at once both compute.

    Args:
        max_bytes: bound of `held_bytes`.
        size: bytes of one value.
    """

    def __init__(self, max_bytes: int, size: Callable[[T], int]) -> None:
        self.held_bytes = 0
        """Bytes of all values held now."""
        self._max_bytes = max_bytes
        self._size = size
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The value of a key if it is held."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key]

    def put(self, key: Hashable, value: T) -> None:
        """Hold a value, and drop the oldest ones for it."""
        with self._lock:
            if key in self._held:
                self.held_bytes -= self._size(self._held.pop(key))
            if self._size(value) > self._max_bytes:
                return
            self._held[key] = value
            self.held_bytes += self._size(value)
            while self.held_bytes > self._max_bytes:
                self.held_bytes -= self._size(self._held.popitem(last=False)[1])
