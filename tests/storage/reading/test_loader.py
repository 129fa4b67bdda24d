"""The loader: batches of checked states in the order of `assignment`, whatever the store is like."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    Batch,
    ShardCorruptError,
    StoreNotFoundError,
    TrajectoryLoader,
    TrajectorySpec,
    join,
    store_uri,
    write_bytes,
)
from storage.testing.oracles import (
    KINDS,
    assert_same_batches,
    assert_states,
    count_requests,
    reading_threads,
    shown_states,
    spec_of_kind,
)
from storage.testing.trajectories import fill, make_spec

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 37


@pytest.fixture(params=KINDS, scope="module")
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TrajectorySpec]:
    """A sealed store of 37 samples in 5 shards, of each kind."""
    root, spec = str(tmp_path_factory.mktemp("stores")), spec_of_kind(request.param)
    fill(root, spec, NUM_SAMPLES)
    return store_uri(root, spec), spec


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A plain one."""
    root = str(tmp_path_factory.mktemp("stores"))
    fill(root, make_spec(), NUM_SAMPLES)
    return store_uri(root, make_spec())


@pytest.mark.thorough
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_an_epoch_holds_every_sample_once_with_its_own_states(
    of_kind: tuple[str, TrajectorySpec], data: st.DataObject
) -> None:
    """Shards are cut by the ends of ranks' parts and by `num_samples`, wherever they lie."""
    (uri, spec), world_size = of_kind, data.draw(st.integers(1, 4))
    num_samples = data.draw(st.integers(world_size, NUM_SAMPLES))
    batch_size = data.draw(st.integers(1, num_samples // world_size))
    given_settings: dict[str, Any] = {
        "batch_size": batch_size,
        "num_samples": num_samples,
        "drop_last": (drop_last := data.draw(st.booleans())),
        "window": data.draw(st.integers(1, 6)),
        "seed": data.draw(st.integers(0, 9)),
        "prefetch": data.draw(st.integers(0, 3)),
        "threads": data.draw(st.integers(1, 3)),
    }
    epoch, expected, seen = data.draw(st.integers(0, 2)), shown_states(spec, 0, NUM_SAMPLES), list[int]()
    for rank in range(world_size):
        loader = TrajectoryLoader(uri, rank=rank, world_size=world_size, **given_settings)
        batches = list(loader.epoch(epoch))
        assert len(batches) == loader.batches_per_epoch
        for number, batch in enumerate(batches):
            assert len(batch.indices) == batch_size or (not drop_last and number == len(batches) - 1)
            assert batch.indices.dtype == np.int64
            assert list(batch.states) == list(spec.timesteps)
            assert_states(batch.states, expected, batch.indices)
            seen += batch.indices.tolist()
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(num_samples))
    if not drop_last:
        assert len(seen) == num_samples


def test_iterating_runs_through_epochs_for_ever(uri: str) -> None:
    loader = TrajectoryLoader(uri, batch_size=6, seed=1)
    stream = list(itertools.islice(loader, 3 * loader.batches_per_epoch))
    assert_same_batches(stream, [batch for epoch in range(3) for batch in loader.epoch(epoch)])
    assert loader.state_dict()["epoch"] == 3
    first, second = ([batch.indices.tolist() for batch in loader.epoch(epoch)] for epoch in (0, 1))
    assert first != second


def test_a_window_mixes_its_shards(uri: str) -> None:
    """Batches of one window hold samples of several shards; with a window of one shard they do not."""
    whole, alone = (TrajectoryLoader(uri, batch_size=8, seed=1, window=window) for window in (5, 1))
    assert max(len({index // 8 for index in batch.indices}) for batch in whole.epoch(0)) > 2
    assert all(len({index // 8 for index in batch.indices}) <= 2 for batch in alone.epoch(0))


def test_a_batch_is_its_owner_s_for_good(of_kind: tuple[str, TrajectorySpec]) -> None:
    """Memory of windows is used again and again; batches that were kept, or changed, do not notice and do no harm."""
    uri, spec = of_kind
    loader = TrajectoryLoader(uri, batch_size=3, seed=1, window=1, prefetch=1)
    expected, kept, copies = shown_states(spec, 0, NUM_SAMPLES), list[Batch](), list[Batch]()
    for number, batch in enumerate(itertools.islice(loader, 3 * loader.batches_per_epoch)):
        assert_states(batch.states, expected, batch.indices)
        kept.append(batch)
        copies.append(Batch(batch.indices.copy(), {t: values.copy() for t, values in batch.states.items()}))
        if number % 2:
            batch.indices[:] = copies[-1].indices[:] = -1
            for t, values in batch.states.items():
                values[:] = copies[-1].states[t][:] = 77
    assert_same_batches(kept, copies)
    for one, other in itertools.combinations(kept[:12], 2):
        assert not any(np.shares_memory(one.states[t], other.states[t]) for t in spec.timesteps)
        assert not np.shares_memory(one.indices, other.indices)


@pytest.mark.parametrize("timesteps", [(0,), (999,), (0, 999), (500, 0), None])
def test_only_the_objects_of_the_timesteps_asked_for_are_read(
    uri: str, timesteps: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them once in an epoch of one rank, and nothing else at all."""
    loader = TrajectoryLoader(uri, timesteps=timesteps, batch_size=8, seed=0, drop_last=False)
    asked = count_requests(monkeypatch)
    batches = list(loader.epoch(0))
    wanted = timesteps or (999, 500, 0)
    assert sorted(asked) == sorted(f"t{t:04d}/c/{shard}/0/0/0" for t in wanted for shard in range(5))
    assert [list(batch.states) for batch in batches] == [list(wanted)] * 5


def test_only_shards_of_the_first_samples_are_read(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count_requests(monkeypatch)
    loader = TrajectoryLoader(uri, timesteps=[0], batch_size=1, seed=0, num_samples=17)
    assert sorted(batch.indices[0] for batch in loader.epoch(0)) == list(range(17))
    assert sorted(asked) == [f"t0000/c/{shard}/0/0/0" for shard in range(3)]


def test_an_error_in_the_background_is_raised_and_ends_the_threads(tmp_path: Path) -> None:
    spec = make_spec()
    fill(str(tmp_path), spec, NUM_SAMPLES)
    uri = store_uri(str(tmp_path), spec)
    write_bytes(join(uri, "t0500/c/2/0/0/0"), b"short")
    for prefetch in (0, 2):
        loader = TrajectoryLoader(uri, batch_size=4, seed=3, window=1, prefetch=prefetch)
        order = [int(batch.indices[0]) // 8 for batch in TrajectoryLoader(uri, timesteps=[0], batch_size=8, seed=3,
                                                                         window=1).epoch(0)]  # fmt: skip
        seen: list[int] = []
        with pytest.raises(ShardCorruptError, match=r"shard 2 .*repair"):
            seen.extend(index for batch in loader for index in batch.indices.tolist())
        # All that comes before the damaged shard was given; the store's last shard is a partial one.
        before = sum(8 if shard < 4 else 5 for shard in order[: order.index(2)])
        assert len(seen) == before // 4 * 4
        assert reading_threads() == []


def test_closing_ends_the_threads(uri: str) -> None:
    loader = TrajectoryLoader(uri, batch_size=2, seed=0, prefetch=2)
    for stream in (iter(loader), loader.epoch(0)):
        next(stream)
        stream.close()
        assert reading_threads() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be positive, got 0; use 1"),
        ({"batch_size": 38}, "must fit into a rank's part .* batch_size 38 for 37 samples on 1 ranks; use a smaller"),
        ({"batch_size": 19, "world_size": 2}, "batch_size 19 for 37 samples on 2 ranks; use a smaller batch"),
        ({"num_samples": 3}, "batch_size 4 for 3 samples on 1 ranks; use a smaller batch or more samples"),
        ({"batch_size": 1, "world_size": 38, "drop_last": False}, "1 for 37 samples on 38 ranks; use"),
        ({"window": 0}, "window must be positive, got 0; use 1"),
        ({"threads": 0}, "threads must be positive, got 0; use 1"),
        ({"prefetch": -1}, "prefetch must be 0 or more, got -1; use 0 for none"),
        ({"world_size": 0}, "world_size must be positive, got 0; use 1"),
        ({"rank": 1}, r"rank must lie in \[0, 1\), got 1; count from 0"),
        ({"rank": -1}, r"rank must lie in \[0, 1\), got -1; count from 0"),
        ({"rank": 3, "world_size": 3}, r"rank must lie in \[0, 3\), got 3; count from 0"),
        ({"seed": -1}, "seed must lie in .* got -1; choose"),
        ({"seed": 2**63}, "seed must lie in .* choose"),
        ({"num_samples": 38}, r"num_samples must lie in \[1, 37\].* got 38; extend the store or use fewer"),
        ({"num_samples": 0}, r"num_samples must lie in \[1, 37\].* got 0; extend"),
        ({"cache": "ram"}, "a cache must be one of .*, got 'ram'; choose"),
        ({"cache": "memory", "cache_bytes": 0}, "cache_bytes must be positive, got 0; use None"),
        ({"timesteps": (999, 1)}, r"must be a subset .* got \(999, 1\) .* \(999, 500, 0\); choose among"),
    ],
)
def test_settings_out_of_range_are_refused(uri: str, change: dict[str, Any], message: str) -> None:
    """By rule, fact and remedy, before anything is read."""
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        TrajectoryLoader(uri, **({"batch_size": 4, "seed": 0} | change))


def test_an_epoch_below_zero_is_refused_at_once(uri: str) -> None:
    with pytest.raises(ValueError, match="must be 0 or more, got -1; count epochs from 0"):
        TrajectoryLoader(uri, batch_size=4, seed=0).epoch(-1)


def test_there_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="advkd precompute"):
        TrajectoryLoader(str(tmp_path / "nowhere"), batch_size=1, seed=0)
