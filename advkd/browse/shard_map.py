"""The state of every shard: present, missing, corrupt, being written. Cheap for a million shards."""

from bisect import bisect_left
from itertools import islice
from typing import Any

import numpy as np

from advkd.browse.store_view import StoreSnapshot
from storage import exists, join
from storage.layouts import layout_of
from storage.records import committed_shards

_ASKED = 16
"""Number of shards without a record whose objects are searched for: missing ones, and those after the last."""

Run = tuple[int, int, str]
STATES = ("present", "missing", "corrupt", "writing")
"""States of a shard, in the order of the legend."""


def shard_map(view: StoreSnapshot) -> dict[str, Any]:
    """Returns, as plain JSON, runs `[first, stop, state]` of present and missing shards, and those in another state.

    Besides: how many there are in each state, the problems of shards, and the number of samples.
    """
    view.recheck()
    runs = _runs(view)
    count = runs[-1][1] if runs else 0
    marks = {shard: mark for shard, mark in sorted(view.store.marks.all().items()) if shard < count}
    apart = dict.fromkeys(_being_written(view, runs), "writing") | {shard: mark.kind for shard, mark in marks.items()}
    shards = max([count, *(shard + 1 for shard in apart)])
    if shards > count:
        runs.append((count, shards, "missing"))
    counts, ordered = dict.fromkeys(STATES, 0), sorted(apart)
    for first, stop, state in runs:
        counts[state] += stop - first - (bisect_left(ordered, stop) - bisect_left(ordered, first))
    for kind in apart.values():
        counts[kind] += 1
    return {
        "state": "sealed" if view.sealed else "growing",
        "stamp": f"{view.stamp} {counts}",
        "samples": view.num_samples,
        "shard_samples": view.spec.shard_samples,
        "shards": shards,
        "runs": runs,
        "apart": apart,
        "counts": counts,
        "problems": {str(shard): mark.message for shard, mark in islice(marks.items(), 100)},
    }


def _runs(view: StoreSnapshot) -> list[Run]:
    """Returns the runs of shards with and without a record, up to the last one with a record."""
    runs, committed = list[Run](), view.committed
    if committed is None:
        runs = [(0, view.manifest.num_shards, "present")]
        further = committed_shards(view.store.uri, after=view.manifest.num_shards - 1)
        committed = np.array(sorted(further), dtype=np.int64)
    for part in np.split(committed, np.flatnonzero(np.diff(committed) != 1) + 1):
        if len(part):
            start, last = int(part[0]), runs[-1][1] if runs else 0
            if start > last:
                runs.append((last, start, "missing"))
            runs.append((start, int(part[-1]) + 1, "present"))
    return runs


def _being_written(view: StoreSnapshot, runs: list[Run]) -> set[int]:
    """Returns shards whose first object exists, but not their record."""
    count = runs[-1][1] if runs else 0
    if view.sealed and count == view.manifest.num_shards:
        return set()
    gaps = (shard for start, stop, state in runs if state == "missing" for shard in range(start, stop))
    missing = list(islice(gaps, _ASKED))
    template = layout_of(view.spec).templates(view.spec)[0]
    asked = [*missing, *range(count, count + _ASKED - len(missing))]
    return {shard for shard in asked if exists(join(view.store.uri, template.format(shard=shard)))}
