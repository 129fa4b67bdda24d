"""The state of every shard, in runs: present, missing, corrupt, being written. Cheap for a million shards."""

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from advkd.browse.looking import LookedAt, View
from storage import exists, join
from storage.commits import committed_shards
from storage.growing import CommittedShards
from storage.layouts import layout_of

_ASKED = 16
"""Shards without a record whose objects are looked for: the missing ones, and those after the last."""


def shard_map(store: LookedAt) -> dict[str, Any]:
    """For pages: runs `[first, stop, state]`, counts, samples, what is wrong with which shard."""
    view = store.view()
    store.recheck()
    present, count = _present(store, view)
    writing = _being_written(store.uri, view, present, count)
    count = max([count, *(shard + 1 for shard in writing)])
    marks = store.marks.all()

    def state(shard: int) -> str:
        if shard in marks:
            return marks[shard].kind
        if shard in present:
            return "present"
        return "writing" if shard in writing else "missing"

    runs = _sealed_runs(count, marks) if isinstance(present, range) else list(_runs(range(count), state))
    counts = {name: sum(stop - first for first, stop, one in runs if one == name) for name in STATES}
    return {
        "state": "sealed" if view.sealed else "growing",
        "stamp": f"{view.stamp} {counts}",
        "samples": view.num_samples,
        "shard_samples": view.spec.shard_samples,
        "shards": count,
        "runs": runs,
        "counts": counts,
        "problems": {str(shard): mark.message for shard, mark in sorted(marks.items())[:100]},
        "time": time.time(),
    }


STATES = ("present", "missing", "corrupt", "writing")
"""In the order of the legend."""


def _present(store: LookedAt, view: View) -> tuple[range | set[int], int]:
    """Shards that have a record, and how many there are up to the last."""
    shards = view.manifest.shards
    if isinstance(shards, CommittedShards):
        return set(shards.committed), shards.count
    more = committed_shards(store.uri, after=len(shards) - 1)
    if not more:
        return range(len(shards)), len(shards)
    return {*range(len(shards)), *more}, max(more) + 1


def _being_written(uri: str, view: View, present: range | set[int], count: int) -> set[int]:
    """Shards whose first object is there already, and whose record is not."""
    if view.sealed and isinstance(present, range):
        return set()
    gaps = [shard for shard in range(count) if shard not in present][:_ASKED]
    template = layout_of(view.spec).templates(view.spec)[0]
    asked = [*gaps, *range(count, count + _ASKED - len(gaps))]
    return {shard for shard in asked if exists(join(uri, template.format(shard=shard)))}


def _sealed_runs(count: int, marks: Iterable[int]) -> list[tuple[int, int, str]]:
    """All present but the marked ones, without a step per shard."""
    runs, start = list[tuple[int, int, str]](), 0
    for shard in sorted(shard for shard in marks if shard < count):
        if shard > start:
            runs.append((start, shard, "present"))
        runs.append((shard, shard + 1, "corrupt"))
        start = shard + 1
    return [*runs, (start, count, "present")] if start < count else runs


def _runs(shards: Iterable[int], state: Any) -> Iterator[tuple[int, int, str]]:
    for name, group in groupby(shards, key=state):
        members = list(group)
        yield members[0], members[-1] + 1, name
