"""Keeps the byte ranges that were read last, so that who looks at one sample after the other asks for a block once.

What is held is what the store gave, checked or not: whoever finds a range to be wrong says so by `forget`, and the
next reading asks the store again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class ByteRange:
    """The bytes start..stop-1 of an object as it was when it had this hash."""

    address: str
    sha256: str
    start: int
    stop: int


class RangeCache:
    """A bounded LRU of byte ranges, shared by any number of readers. Thread-safe.

    Args:
        max_bytes: Bound of `held_bytes`; a larger range is passed through.

    Raises:
        ValueError: The bound is not positive.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"RangeCache.max_bytes must be positive, got {max_bytes}; give readers none instead")
        self.held_bytes = 0
        """Bytes of all ranges held now."""
        self._max_bytes = max_bytes
        self._held: OrderedDict[ByteRange, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, wanted: ByteRange, fetch: Callable[[], bytes]) -> bytes:
        """The bytes held, or what `fetch` gives, which are then held."""
        with self._lock:
            found = self._held.get(wanted)
            if found is not None:
                self._held.move_to_end(wanted)
                return found
        data = fetch()
        if len(data) <= self._max_bytes:
            self._keep(wanted, data)
        return data

    def forget(self, addresses: Collection[str]) -> None:
        """Drop all ranges of some objects."""
        with self._lock:
            for wanted in [one for one in self._held if one.address in addresses]:
                self.held_bytes -= len(self._held.pop(wanted))

    def _keep(self, wanted: ByteRange, data: bytes) -> None:
        with self._lock:
            if wanted in self._held:
                return
            self._held[wanted] = data
            self.held_bytes += len(data)
            while self.held_bytes > self._max_bytes:
                self.held_bytes -= len(self._held.popitem(last=False)[1])
