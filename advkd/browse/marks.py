"""What is known to be wrong with the shards of one store, and which of it is looked at again next."""

import threading
from dataclasses import dataclass

_MOST_MARKS = 10_000


@dataclass(frozen=True, eq=False)
class Mark:
    """What is wrong with a shard: `kind` is "corrupt" or "pending"; `sample` is one that could not be read."""

    kind: str
    message: str
    sample: int
    whole: bool = False
    """Found by reading all of the shard: that one of its samples can be read says nothing of it."""


class Marks:
    """Marks by shard, bounded in number. Thread-safe."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._lock = threading.Lock()

    def put(self, shard: int, mark: Mark) -> None:
        """Marks a shard; what a single sample told does not take the place of what the whole shard told."""
        with self._lock:
            held = self._marks.get(shard)
            if held is None and len(self._marks) >= _MOST_MARKS:
                return
            if held is None or mark.whole or not held.whole:
                self._marks[shard] = mark

    def clear(self, shard: int, mark: Mark | None = None) -> None:
        """Takes a shard's mark away; only if it is still this one, where one is given."""
        with self._lock:
            if mark is None or self._marks.get(shard) is mark:
                self._marks.pop(shard, None)

    def all(self) -> dict[int, Mark]:
        """A copy."""
        with self._lock:
            return dict(self._marks)

    def turn(self, most: int) -> list[tuple[int, Mark]]:
        """Some of those that one sample told, others each time: they go to the end of the queue."""
        with self._lock:
            chosen = [(shard, mark) for shard, mark in self._marks.items() if not mark.whole][:most]
            for shard, mark in chosen:
                del self._marks[shard]
                self._marks[shard] = mark
            return chosen
