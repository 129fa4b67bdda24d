"""The state of every shard, in runs: present, missing, corrupt, being written. Cheap for a million shards."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.store_view import StoreSnapshot
from storage import exists, join
from storage.layouts import layout_of
from storage.records import committed_shards

_ASKED = 16
"""Number of shards without a record whose objects are searched for: missing ones, and those after the last."""

STATES = ("present", "missing", "corrupt", "writing")
"""States of a shard, in the order of the legend."""


def shard_map(view: StoreSnapshot) -> dict[str, Any]:
    """Returns, as plain JSON, runs `[first, stop, state]`, counts, samples, and the problems of shards."""
    view.recheck()
    base = _base(view)
    count = base[-1][1] if base else 0
    marks = {shard: mark for shard, mark in view.store.marks.all().items() if shard < count}
    apart = {shard: mark.kind for shard, mark in marks.items()}
    for shard in _being_written(view, base):
        apart.setdefault(shard, "writing")
    runs = list(_joined(_painted(base, apart)))
    counts = {name: sum(stop - first for first, stop, state in runs if state == name) for name in STATES}
    return {
        "state": "sealed" if view.sealed else "growing",
        "stamp": f"{view.stamp} {counts}",
        "samples": view.num_samples,
        "shard_samples": view.spec.shard_samples,
        "shards": runs[-1][1] if runs else 0,
        "runs": runs,
        "counts": counts,
        "problems": {str(shard): mark.message for shard, mark in sorted(marks.items())[:100]},
        "time": time.time(),
    }


Run = tuple[int, int, str]


def _base(view: StoreSnapshot) -> list[Run]:
    """Returns the runs of shards with and without a record, up to the last one with a record."""
    runs, committed = list[Run](), view.committed
    if committed is None:
        runs = [(0, view.manifest.num_shards, "present")]
        further = committed_shards(view.store.uri, after=view.manifest.num_shards - 1)
        committed = np.array(sorted(further), dtype=np.int64)
    for start, stop in _neighbours(committed):
        last = runs[-1][1] if runs else 0
        if start > last:
            runs.append((last, start, "missing"))
        runs.append((start, stop, "present"))
    return runs


def _neighbours(numbers: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns ascending numbers as ranges `start..stop-1`."""
    if not len(numbers):
        return []
    ends = np.flatnonzero(np.diff(numbers) != 1)
    starts, stops = numbers[np.append(0, ends + 1)], numbers[np.append(ends, len(numbers) - 1)] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _being_written(view: StoreSnapshot, base: list[Run]) -> set[int]:
    """Returns shards whose first object exists, but not their record."""
    count = base[-1][1] if base else 0
    if view.sealed and count == view.manifest.num_shards:
        return set()
    gaps = (shard for start, stop, state in base if state == "missing" for shard in range(start, stop))
    missing = list(islice(gaps, _ASKED))
    template = layout_of(view.spec).templates(view.spec)[0]
    asked = [*missing, *range(count, count + _ASKED - len(missing))]
    return {shard for shard in asked if exists(join(view.store.uri, template.format(shard=shard)))}


def _painted(base: list[Run], apart: Mapping[int, str]) -> Iterator[Run]:
    """Yields the runs, with some shards in another state, then further shards with such a state."""
    count = base[-1][1] if base else 0
    ordered = sorted(apart)
    last = ordered[-1] + 1 if ordered else 0
    for start, stop, state in [*base, *([(count, last, "missing")] if last > count else [])]:
        at = start
        for shard in ordered[bisect_left(ordered, start) : bisect_left(ordered, stop)]:
            if shard > at:
                yield at, shard, state
            yield shard, shard + 1, apart[shard]
            at = shard + 1
        if at < stop:
            yield at, stop, state


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Joins neighbouring runs with the same state."""
    held: Run | None = None
    for start, stop, state in runs:
        if held is not None and held[2] == state:
            held = held[0], stop, state
            continue
        if held is not None:
            yield held
        held = start, stop, state
    if held is not None:
        yield held
