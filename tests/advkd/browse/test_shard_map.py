"""The shard map in runs against one that goes from shard to shard."""

from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from advkd.browse.marks import Mark
from advkd.browse.shard_map import shard_map
from tests.advkd.browse.specs import image_spec

SPEC = image_spec()


def growing(committed: set[int], marks: set[int]) -> Any:
    """As much of a growing store as its map needs; nothing of it exists."""
    count = max(committed, default=-1) + 1
    found = {shard: Mark("corrupt", f"shard {shard}", 0) for shard in marks}
    return SimpleNamespace(
        spec=SPEC,
        sealed=False,
        stamp="stamp",
        num_samples=count * SPEC.shard_samples,
        manifest=SimpleNamespace(num_shards=count),
        committed=np.array(sorted(committed), dtype=np.int64),
        recheck=lambda: None,
        store=SimpleNamespace(uri="memory://nothing", marks=SimpleNamespace(all=lambda: found)),
    )


@settings(deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 45)))
def test_runs_are_those_of_single_shards(committed: set[int], marks: set[int]) -> None:
    found = shard_map(growing(committed, marks))
    count = max(committed, default=-1) + 1
    records = ["present" if one in committed else "missing" for one in range(count)]
    expected = []
    for state, group in groupby(range(count), key=lambda one: records[one]):
        members = list(group)
        expected.append((members[0], members[-1] + 1, state))
    assert found["runs"] == expected
    assert found["apart"] == {one: "corrupt" for one in marks if one < count}
    states = [found["apart"].get(one, records[one]) for one in range(count)]
    assert found["shards"] == count
    assert found["counts"] == {name: states.count(name) for name in ("present", "missing", "corrupt", "writing")}
    assert set(found["problems"]) == {str(one) for one in marks if one < count}


def test_a_million_shards_are_a_few_runs() -> None:
    view = growing(set(), {400_000})
    view.committed = np.setdiff1d(np.arange(1_000_000), [17, 18, 500_000])
    view.manifest.num_shards = 1_000_000
    found = shard_map(view)
    assert found["runs"] == [
        (0, 17, "present"),
        (17, 19, "missing"),
        (19, 500_000, "present"),
        (500_000, 500_001, "missing"),
        (500_001, 1_000_000, "present"),
    ]
    assert found["apart"] == {400_000: "corrupt"}
    assert found["counts"] == {"present": 999_996, "missing": 3, "corrupt": 1, "writing": 0}
