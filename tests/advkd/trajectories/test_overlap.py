"""Writing is overlapped with computing, and what is in memory meanwhile is bounded."""

import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import advkd.trajectories.filling
import storage.writing.writer
from advkd.diffusion import UNCONDITIONAL, Pixels, Start, TimeGrid
from advkd.teachers import SolverSpec, load_teacher
from advkd.trajectories import PrecomputeSpec, precompute, trajectory_spec
from advkd.trajectories.shard import ComputeSlots
from storage import StoreFullError, verify
from storage.layouts.table import layout_of

PATIENCE = 120.0


class Scaling:
    """A teacher whose states are its noise, scaled: large, and computed at once."""

    name = "scaling"
    fingerprint = "a" * 64
    space = Pixels((3, 64, 64))
    conditions = UNCONDITIONAL

    def __init__(self) -> None:
        self.blocks = 0

    def grid(self, solver: SolverSpec) -> TimeGrid:
        return load_teacher("mixture").grid(solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        return {}

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        self.blocks += 1
        for number in range(len(labels)):
            yield start.noise / (number + 1)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Scaling:
    """The teacher of every precompute."""
    made = Scaling()
    monkeypatch.setattr(advkd.trajectories.filling, "cached_teacher", lambda *_: made)
    return made


def large_spec(root: Path, shards: int, layout: str = "zarr") -> PrecomputeSpec:
    return PrecomputeSpec(
        store=str(root), samples=32 * shards, shard_samples=32, block_samples=8, micro_batch=8, format=layout
    )


def test_the_next_shard_is_computed_while_one_is_written(
    tmp_path: Path, teacher: Scaling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write waits until the next shard's blocks are all computed; without overlap it would wait for ever."""
    computed, original = threading.Event(), storage.writing.writer.write_bytes
    waited: list[bool] = []

    def waiting(uri: str, data: bytes) -> None:
        waited.append(computed.wait(PATIENCE))
        original(uri, data)

    monkeypatch.setattr(storage.writing.writer, "write_bytes", waiting)

    def progress(done: int, _: int) -> None:
        if done == 2 * 32:
            computed.set()

    result = precompute(large_spec(tmp_path, 4), progress)
    assert all(waited)
    assert teacher.blocks == 4 * 4
    assert verify(result.uri) == []


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 2])
def test_a_slow_store_stops_computing(
    tmp_path: Path, teacher: Scaling, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """No more shards are begun than `ComputeSlots.threads`, however many are waiting for the store."""
    begun, finished, most = 0, 0, 0
    lock, first, original = threading.Lock(), threading.Event(), storage.writing.writer.ShardWriter.publish
    begin = storage.writing.writer.ShardWriter.begin

    def counted(self: Any, index: int) -> Any:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - finished)
            if begun - finished == ComputeSlots(workers).threads:
                first.set()
        return begin(self, index)

    def slow(self: Any, *arguments: Any) -> Any:
        nonlocal finished
        assert first.wait(PATIENCE), "as many shards as there may be must be begun before the first is written"
        record = original(self, *arguments)
        with lock:
            finished += 1
        return record

    monkeypatch.setattr(storage.writing.writer.ShardWriter, "begin", counted)
    monkeypatch.setattr(storage.writing.writer.ShardWriter, "publish", slow)
    precompute(large_spec(tmp_path, 12), workers=workers)
    assert finished == 12
    assert most == ComputeSlots(workers).threads


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["zarr", "webdataset"])
def test_memory_is_within_its_stated_bound_whatever_the_size(tmp_path: Path, teacher: Scaling, layout: str) -> None:
    workers, peaks = 2, []
    for shards in (4, 16):
        spec = large_spec(tmp_path / str(shards), shards, layout)
        identity = trajectory_spec(spec, teacher)  # type: ignore[arg-type]
        tracemalloc.start()
        precompute(spec, workers=workers)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    states = identity.shard_samples * identity.trajectory_bytes
    objects = sum(layout_of(identity).object_bytes(identity))
    # Of every shard that is computed three blocks as float32, beside torch's own, which tracemalloc does not see.
    blocks = workers * 3 * 2 * identity.block_samples * identity.trajectory_bytes
    assert max(peaks) <= 2 * workers * (states + 2 * objects) + blocks + 2**20
    assert peaks[1] <= 1.3 * peaks[0]


def test_a_store_that_fails_ends_it_and_nothing_hangs(
    tmp_path: Path, teacher: Scaling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreFullError("no space is left; free some")

    monkeypatch.setattr(storage.writing.writer, "write_bytes", full)
    threads = set(threading.enumerate())
    with pytest.raises(StoreFullError, match="no space"):
        precompute(large_spec(tmp_path, 12), workers=2)
    assert teacher.blocks < 12 * 4
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= threads
    assert torch.get_num_threads() >= 1
