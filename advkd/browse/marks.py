"""Marks of a store's bad shards, and the order in which they are checked again."""

import threading
from dataclasses import dataclass

_MOST_MARKS = 10_000


@dataclass(frozen=True, eq=False)
class Mark:
    """The problem of a shard: `kind` is "corrupt" or "pending"; `sample` is one that could not be read."""

    kind: str
    message: str
    sample: int
    whole: bool = False
    """Whether a check of the whole shard found the problem; then a readable sample does not clear the mark."""


class Marks:
    """Marks by shard, bounded in number. Thread-safe."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._lock = threading.Lock()

    def put(self, shard: int, mark: Mark) -> None:
        """Marks a shard; a mark from a single sample does not replace one from the whole shard."""
        with self._lock:
            held = self._marks.get(shard)
            if held is None and len(self._marks) >= _MOST_MARKS:
                return
            if held is None or mark.whole or not held.whole:
                self._marks[shard] = mark

    def clear(self, shard: int, mark: Mark | None = None) -> None:
        """Removes a shard's mark; if a mark is given, only if it is still this one."""
        with self._lock:
            if mark is None or self._marks.get(shard) is mark:
                self._marks.pop(shard, None)

    def all(self) -> dict[int, Mark]:
        """Returns a copy of all marks, by shard."""
        with self._lock:
            return dict(self._marks)

    def turn(self, most: int) -> list[tuple[int, Mark]]:
        """Returns up to `most` marks from single samples, and moves them to the end of the queue."""
        with self._lock:
            chosen = [(shard, mark) for shard, mark in self._marks.items() if not mark.whole][:most]
            for shard, mark in chosen:
                del self._marks[shard]
                self._marks[shard] = mark
            return chosen
