"""Exact resume (law 7) beyond the contract: of every kind of store, in another process, and what is refused."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import TrajectoryLoader, TrajectorySpec, store_uri
from storage.testing.oracles import KINDS, assert_same_batches, count_requests, spec_of_kind
from storage.testing.orders import orders, speeds
from storage.testing.trajectories import fill, make_spec

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 37


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sealed store of 37 samples in 5 shards."""
    root = str(tmp_path_factory.mktemp("stores"))
    fill(root, make_spec(), NUM_SAMPLES)
    return store_uri(root, make_spec())


@pytest.fixture(params=KINDS, scope="module")
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TrajectorySpec]:
    """One of 29 samples in 4 shards, of each kind."""
    root, spec = str(tmp_path_factory.mktemp("stores")), spec_of_kind(request.param)
    fill(root, spec, 29)
    return store_uri(root, spec), spec


@pytest.mark.thorough
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_again_and_again_from_any_point(of_kind: tuple[str, TrajectorySpec], data: st.DataObject) -> None:
    """A run that is stopped and resumed any number of times is the run that was not."""
    uri, spec = of_kind
    order = data.draw(orders(29, spec.timesteps))
    loader = TrajectoryLoader(uri, **order)
    expected = list(itertools.islice(loader, 2 * loader.batches_per_epoch + 3))
    found, state = [], TrajectoryLoader(uri, **order).state_dict()
    while len(found) < len(expected):
        resumed = TrajectoryLoader(uri, **order, **data.draw(speeds()))
        resumed.load_state_dict(json.loads(json.dumps(state)))
        found += itertools.islice(resumed, data.draw(st.integers(1, len(expected))))
        state = resumed.state_dict()
    assert_same_batches(found[: len(expected)], expected)


def test_the_state_is_plain_json_and_says_what_it_is_of(uri: str) -> None:
    loader = TrajectoryLoader(uri, batch_size=6, seed=5, rank=1, world_size=2, window=3)
    for _ in itertools.islice(loader, loader.batches_per_epoch + 2):
        pass
    state = loader.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert state == {
        "digest": loader.manifest.digest,
        "num_samples": 37,
        "timesteps": [999, 500, 0],
        "batch_size": 6,
        "seed": 5,
        "rank": 1,
        "world_size": 2,
        "window": 3,
        "drop_last": True,
        "epoch": 1,
        "batch": 2,
    }


def test_every_rank_of_a_saved_run_goes_on_where_it_was(uri: str) -> None:
    """And all of them together go through every sample once in the epoch that was interrupted."""
    seen: list[int] = []
    for rank in range(3):
        order: dict[str, Any] = {"batch_size": 4, "seed": 2, "rank": rank, "world_size": 3, "window": 2}
        loader = TrajectoryLoader(uri, drop_last=False, **order)
        seen += [index for batch in itertools.islice(loader, 2) for index in batch.indices.tolist()]
        resumed = TrajectoryLoader(uri, drop_last=False, **order)
        resumed.load_state_dict(loader.state_dict())
        rest = itertools.islice(resumed, loader.batches_per_epoch - 2)
        seen += [index for batch in rest for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(NUM_SAMPLES))


@pytest.mark.parametrize("prefetch", [0, 1])
def test_windows_before_the_cursor_are_not_read(uri: str, prefetch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    order: dict[str, Any] = {"batch_size": 8, "seed": 1, "window": 1, "timesteps": [0], "num_samples": 32}
    loader = TrajectoryLoader(uri, **order)
    shards = [int(batch.indices[0]) // 8 for batch in itertools.islice(loader, 4)]
    stopped = TrajectoryLoader(uri, **order)
    for _ in itertools.islice(stopped, 2):
        pass
    resumed = TrajectoryLoader(uri, **order, prefetch=prefetch)
    resumed.load_state_dict(stopped.state_dict())
    asked = count_requests(monkeypatch)
    stream = iter(resumed)
    assert int(next(stream).indices[0]) // 8 == shards[2]
    stream.close()
    # What was to be read ahead may or may not have begun.
    keys = [f"t0000/c/{shard}/0/0/0" for shard in shards[2:]]
    assert asked in (keys[:1], keys[: 1 + prefetch])


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 5},
        {"seed": 1},
        {"window": 2},
        {"world_size": 2},
        {"rank": 1, "world_size": 2},
        {"num_samples": 36},
        {"timesteps": (999, 0)},
        {"timesteps": (0, 500, 999)},
        {"drop_last": False},
    ],
)
def test_a_state_of_other_settings_is_refused(uri: str, change: dict[str, Any]) -> None:
    loader = TrajectoryLoader(uri, **({"batch_size": 4, "seed": 0} | change))
    state = TrajectoryLoader(uri, batch_size=4, seed=0).state_dict()
    before = loader.state_dict()
    with pytest.raises(
        ValueError, match=f"only with the settings .* differ in .*{next(iter(change))}.*; pass the saved"
    ):
        loader.load_state_dict(state)
    assert loader.state_dict() == before


def test_a_state_of_another_store_is_refused(uri: str, tmp_path: Path) -> None:
    other = make_spec(base_seed=8)
    fill(str(tmp_path), other, NUM_SAMPLES)
    state = TrajectoryLoader(store_uri(str(tmp_path), other), batch_size=4, seed=0).state_dict()
    with pytest.raises(ValueError, match=r"differ in .*digest"):
        TrajectoryLoader(uri, batch_size=4, seed=0).load_state_dict(state)


@pytest.mark.parametrize("change", [{"batch": 9}, {"batch": -1}, {"epoch": -1}, {"surprise": 1}])
def test_a_damaged_state_is_refused(uri: str, change: dict[str, Any]) -> None:
    loader = TrajectoryLoader(uri, batch_size=4, seed=0)
    with pytest.raises(ValueError, match=r"cursor must lie .*damaged|has the keys .*surprise.*; resume with"):
        loader.load_state_dict(loader.state_dict() | change)
    state = loader.state_dict()
    del state["batch"]
    with pytest.raises(ValueError, match="has the keys"):
        loader.load_state_dict(state)


def test_what_does_not_decide_the_order_may_change(uri: str, tmp_path: Path) -> None:
    order: dict[str, Any] = {"batch_size": 5, "seed": 4, "window": 2}
    loader = TrajectoryLoader(uri, **order)
    next(iter(loader))
    state, expected = loader.state_dict(), list(itertools.islice(loader, 20))
    for other in (
        {"prefetch": 0, "threads": 1},
        {"prefetch": 4, "threads": 5, "cache": "memory", "cache_bytes": 2000},
        {"cache": "disk", "cache_folder": str(tmp_path)},
    ):
        resumed = TrajectoryLoader(uri, **order, **other)
        resumed.load_state_dict(state)
        assert_same_batches(itertools.islice(resumed, 20), expected)


def test_resuming_on_an_extended_store_keeps_the_old_samples(tmp_path: Path) -> None:
    root, spec = str(tmp_path), make_spec()
    fill(root, spec, 20)
    old = TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0)
    next(iter(old))
    state = old.state_dict()
    expected = list(itertools.islice(old, 12))
    fill(root, spec, 40)
    with pytest.raises(ValueError, match="num_samples"):
        TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0).load_state_dict(state)
    resumed = TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0, num_samples=20)
    resumed.load_state_dict(state)
    assert_same_batches(itertools.islice(resumed, 12), expected)
