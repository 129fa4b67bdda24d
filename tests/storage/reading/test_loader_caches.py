"""The loader behind a cache: the same batches, fewer requests, bounded, checked again, shared by processes."""

import hashlib
import itertools
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import TrajectoryLoader, TrajectorySpec, store_uri
from storage.testing.oracles import KINDS, assert_same_batches, count_requests, spec_of_kind
from storage.testing.trajectories import fill, make_spec

pytestmark = pytest.mark.timeout(300)
NUM_SAMPLES = 37
OBJECTS = 15
"""5 shards of 3 timesteps."""
OBJECT_BYTES = 8 * 64 + 2 * 4 + 2 * 16 + 4
"""States, a checksum for each of two blocks, and Zarr's index of them."""


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


def kept_files(folder: Path) -> list[Path]:
    return list(folder.glob("??/" + "?" * 64))


@pytest.mark.thorough
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bound=st.none() | st.integers(1, 12_000), window=st.integers(1, 5), seed=st.integers(0, 3))
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_every_cache_gives_the_batches_of_none(
    of_kind: tuple[str, TrajectorySpec], cache: str, tmp_path: Path, bound: int | None, window: int, seed: int
) -> None:
    """Even if it holds less than the store, or not one object of it; twice, as the second time is another path."""
    uri, _ = of_kind
    order: dict[str, Any] = {"batch_size": 5, "seed": seed, "window": window, "drop_last": False}
    plain = TrajectoryLoader(uri, **order)
    loader = TrajectoryLoader(uri, **order, cache=cache, cache_bytes=bound, cache_folder=str(tmp_path))
    for _ in range(2):
        assert_same_batches(loader.epoch(0), list(plain.epoch(0)))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_second_epoch_asks_the_store_for_nothing(
    uri: str, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = TrajectoryLoader(uri, batch_size=4, seed=0, cache=cache, cache_folder=str(tmp_path))
    asked = count_requests(monkeypatch)
    for epoch in range(3):
        assert len(list(loader.epoch(epoch))) == loader.batches_per_epoch
        assert len(asked) == len(set(asked)) == OBJECTS
    # A new process finds what is on disk, and nothing of what was in memory.
    again = pickle.loads(pickle.dumps(loader))
    assert len(list(again.epoch(3))) == loader.batches_per_epoch
    assert len(asked) == (OBJECTS if cache == "disk" else 2 * OBJECTS)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_cache_that_is_too_small_evicts_and_still_spares_requests(
    uri: str, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound, epochs = 10 * OBJECT_BYTES, 12
    loader = TrajectoryLoader(
        uri, batch_size=4, seed=0, cache=cache, cache_bytes=bound, cache_folder=str(tmp_path), threads=1, window=1
    )
    asked = count_requests(monkeypatch)
    for epoch in range(epochs):
        list(loader.epoch(epoch))
        assert sum(path.stat().st_size for path in kept_files(tmp_path)) <= bound
    assert OBJECTS < len(asked) < epochs * OBJECTS
    assert (len(kept_files(tmp_path)) > 0) == (cache == "disk")


def test_what_a_disk_cache_holds_is_checked_when_it_is_opened_again(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: dict[str, Any] = {"batch_size": 4, "seed": 0}
    expected = list(TrajectoryLoader(uri, **order).epoch(0))
    list(TrajectoryLoader(uri, **order, cache="disk", cache_folder=str(tmp_path)).epoch(0))
    first, second, *_ = sorted(kept_files(tmp_path))
    data = first.read_bytes()
    first.write_bytes(data[:9] + bytes([data[9] ^ 1]) + data[10:])
    second.write_bytes(second.read_bytes()[:-1])
    asked = count_requests(monkeypatch)
    again = TrajectoryLoader(uri, **order, cache="disk", cache_folder=str(tmp_path))
    assert_same_batches(again.epoch(0), expected)
    assert len(asked) == 2
    assert first.read_bytes() == data


def test_processes_share_one_disk_cache_and_get_the_same_batches(s3_root: str, tmp_path: Path) -> None:
    """Loaders go to spawned processes as they are, cursor included; the cache holds less than half of the store."""
    spec = make_spec()
    fill(s3_root, spec, NUM_SAMPLES)
    uri = store_uri(s3_root, spec)
    order: dict[str, Any] = {"batch_size": 3, "seed": 0, "world_size": 2, "window": 2}
    expected, loaders = [], []
    for rank in range(2):
        plain = TrajectoryLoader(uri, **order, rank=rank)
        cached = TrajectoryLoader(
            uri, **order, rank=rank, cache="disk", cache_bytes=7 * OBJECT_BYTES, cache_folder=str(tmp_path)
        )
        for loader in (plain, cached):
            next(iter(loader))
        loaders.append(cached)
        expected.append(fingerprints(plain, 14))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(fingerprints, loaders, [14, 14])) == expected
    assert 0 < sum(path.stat().st_size for path in kept_files(tmp_path)) <= 7 * OBJECT_BYTES
    assert not list(tmp_path.glob("??/.tmp-*"))


def fingerprints(loader: TrajectoryLoader, count: int) -> list[str]:
    """A hash of each of the next batches."""
    hashes = []
    for batch in itertools.islice(loader, count):
        found = hashlib.sha256(batch.indices.tobytes())
        for t, values in batch.states.items():
            found.update(f"{t} {values.dtype} {values.shape}".encode())
            found.update(values.tobytes())
        hashes.append(found.hexdigest())
    return hashes
