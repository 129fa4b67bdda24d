"""Marks of a store's bad shards, and the order in which they are checked again."""

import threading
from dataclasses import dataclass
from itertools import islice

_MOST_MARKS = 10_000


@dataclass(frozen=True, eq=False)
class Mark:
    """The problem of a shard: `kind` is "corrupt" or "pending"; `sample` is one that could not be read."""

    kind: str
    message: str
    sample: int


class Marks:
    """Marks by shard, bounded in number. Thread-safe."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._lock = threading.Lock()

    def put(self, shard: int, mark: Mark) -> None:
        """Marks a shard."""
        with self._lock:
            if shard in self._marks or len(self._marks) < _MOST_MARKS:
                self._marks[shard] = mark

    def clear(self, shard: int, mark: Mark) -> None:
        """Removes a shard's mark, if it is still this one."""
        with self._lock:
            if self._marks.get(shard) is mark:
                del self._marks[shard]

    def all(self) -> dict[int, Mark]:
        """Returns a copy of all marks, by shard."""
        with self._lock:
            return dict(self._marks)

    def turn(self, most: int) -> list[tuple[int, Mark]]:
        """Returns up to `most` marks, and moves them to the end of the queue."""
        with self._lock:
            chosen = list(islice(self._marks.items(), most))
            for shard, _ in chosen:
                self._marks[shard] = self._marks.pop(shard)
            return chosen
