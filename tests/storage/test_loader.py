"""The loader: batches of checked states in the order of `assignment`."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import StoreNotFoundError, TrajectoryLoader, open_store, store_uri
from tests.storage.trajectories import fill, make_spec, states_of

NUM_SAMPLES = 37


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sealed store of 37 samples in 5 shards."""
    root = str(tmp_path_factory.mktemp("stores"))
    fill(root, make_spec(), NUM_SAMPLES)
    return store_uri(root, make_spec())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_epoch_holds_every_sample_once_with_its_own_states(uri: str, data: st.DataObject) -> None:
    world_size = data.draw(st.integers(1, 3))
    batch_size = data.draw(st.integers(1, NUM_SAMPLES // world_size))
    settings = {"window": data.draw(st.integers(1, 6)), "seed": data.draw(st.integers(0, 9)), "batch_size": batch_size}
    epoch, drop_last = data.draw(st.integers(0, 2)), data.draw(st.booleans())
    expected, seen = states_of(make_spec(), 0, NUM_SAMPLES), []
    for rank in range(world_size):
        loader = TrajectoryLoader(uri, rank=rank, world_size=world_size, drop_last=drop_last, **settings)
        batches = list(loader.epoch(epoch))
        assert len(batches) == loader.batches_per_epoch
        for number, batch in enumerate(batches):
            assert len(batch.indices) == batch_size or (not drop_last and number == len(batches) - 1)
            assert batch.indices.dtype == np.int64
            for t, values in batch.states.items():
                np.testing.assert_array_equal(values, expected[t][batch.indices].astype(np.float16))
            seen += batch.indices.tolist()
    assert len(seen) == len(set(seen))
    if not drop_last:
        assert sorted(seen) == list(range(NUM_SAMPLES))


def test_iterating_runs_through_epochs_for_ever(uri: str) -> None:
    loader = TrajectoryLoader(uri, batch_size=6, seed=1)
    stream = list(itertools.islice(loader, 3 * loader.batches_per_epoch))
    expected = [batch for epoch in range(3) for batch in loader.epoch(epoch)]
    for found, wanted in zip(stream, expected, strict=True):
        np.testing.assert_array_equal(found.indices, wanted.indices)
    assert loader.state_dict()["epoch"] == 3
    first, second = ([batch.indices.tolist() for batch in loader.epoch(epoch)] for epoch in (0, 1))
    assert first != second


def test_skipped_windows_are_not_read(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"batch_size": 4, "seed": 1, "window": 1}
    loader = TrajectoryLoader(uri, **settings)
    for _ in zip(range(8), loader, strict=False):
        pass
    resumed = TrajectoryLoader(uri, **settings)
    resumed.load_state_dict(loader.state_dict())
    reads: list[int] = []
    original = type(open_store(uri)).read_shard
    monkeypatch.setattr(
        "storage.reading.ShardReader.read_shard", lambda *a, **k: (reads.append(a[1]), original(*a, **k))[1]
    )
    next(iter(resumed))
    assert len(reads) <= 2


def test_only_the_objects_of_the_timesteps_asked_for_are_read(tmp_path: Path) -> None:
    root, spec = str(tmp_path), make_spec()
    fill(root, spec, 8)
    for path in tmp_path.rglob("t0500/c/0/0/0/0"):
        path.unlink()
    batch = next(iter(TrajectoryLoader(store_uri(root, spec), timesteps=[0, 999], batch_size=8, seed=0)))
    assert list(batch.states) == [0, 999]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 38}, "smaller batch"),
        ({"batch_size": 19, "world_size": 2}, "smaller batch"),
        ({"window": 0}, "window"),
        ({"world_size": 0}, "world_size"),
        ({"rank": 1}, "rank"),
        ({"rank": -1}, "rank"),
        ({"seed": -1}, "seed"),
        ({"num_samples": 38}, "num_samples"),
        ({"num_samples": 0}, "num_samples"),
    ],
)
def test_settings_out_of_range_are_refused(uri: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrajectoryLoader(uri, **({"batch_size": 4, "seed": 0} | change))


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 5},
        {"seed": 1},
        {"window": 2},
        {"world_size": 2},
        {"num_samples": 36},
        {"timesteps": (999, 0)},
        {"drop_last": False},
    ],
)
def test_a_state_of_other_settings_is_refused(uri: str, change: dict[str, Any]) -> None:
    state = TrajectoryLoader(uri, batch_size=4, seed=0).state_dict()
    with pytest.raises(ValueError, match=f"differ in .*{next(iter(change))}"):
        TrajectoryLoader(uri, **({"batch_size": 4, "seed": 0} | change)).load_state_dict(state)


@pytest.mark.parametrize("change", [{"batch": 9}, {"batch": -1}, {"epoch": -1}, {"surprise": 1}])
def test_a_damaged_state_is_refused(uri: str, change: dict[str, Any]) -> None:
    loader = TrajectoryLoader(uri, batch_size=4, seed=0)
    with pytest.raises(ValueError, match=r"cursor|keys"):
        loader.load_state_dict(loader.state_dict() | change)


def test_resuming_on_an_extended_store_keeps_the_old_samples(tmp_path: Path) -> None:
    root, spec = str(tmp_path), make_spec()
    fill(root, spec, 20)
    old = TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0)
    next(iter(old))
    state = old.state_dict()
    expected = [batch.indices.tolist() for batch in itertools.islice(old, 7)]
    fill(root, spec, 40)
    with pytest.raises(ValueError, match="num_samples"):
        TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0).load_state_dict(state)
    resumed = TrajectoryLoader(store_uri(root, spec), batch_size=4, seed=0, num_samples=20)
    resumed.load_state_dict(state)
    assert [batch.indices.tolist() for batch in itertools.islice(resumed, 7)] == expected


def test_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="advkd precompute"):
        TrajectoryLoader(str(tmp_path / "nowhere"), batch_size=1, seed=0)
