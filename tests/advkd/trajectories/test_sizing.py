"""How many samples a block, a shard and a pass of the teacher's network have."""

import os
from pathlib import Path

import numpy as np
import pytest

from advkd.teachers import NetworkTeacher, micro_batch
from advkd.trajectories import PrecomputeSpec, UnseenTeacher, cached_teacher, precompute, trajectory_spec
from storage import open_store
from tests.advkd.conftest import FolderMaker, mixture_spec


class TestTheMicroBatch:
    """Samples that go through the network at once: no part of the identity, and of no effect but on the last bits."""

    def stored(self, root: Path, folder: Path, micro_batch: int | None) -> tuple[str, dict[int, np.ndarray]]:
        spec = mixture_spec(
            root, teacher=str(folder), samples=16, shard_samples=16, block_samples=16, micro_batch=micro_batch
        )
        made = precompute(spec)
        return made.digest, open_store(made.uri).read_samples(range(16))

    def test_it_is_no_part_of_the_identity_and_changes_last_bits_at_most(
        self, tmp_path: Path, teacher_folder: FolderMaker
    ) -> None:
        folder = teacher_folder()
        by_size = {n: self.stored(tmp_path / str(n), folder, n) for n in (None, 16, 8, 1)}
        assert len({name for name, _ in by_size.values()}) == 1
        _, whole = by_size[None]
        for _, states in by_size.values():
            # The noise is drawn by sample, and not computed.
            np.testing.assert_array_equal(states[999], whole[999])
            for timestep in (499, 0):
                np.testing.assert_allclose(states[timestep], whole[timestep], rtol=1e-4, atol=1e-4)
        # Where memory is enough it is the whole block, and the bytes are what they were before there was a choice.
        for timestep in whole:
            np.testing.assert_array_equal(by_size[16][1][timestep], whole[timestep])

    def test_the_same_number_gives_the_same_bytes(self, tmp_path: Path, teacher_folder: FolderMaker) -> None:
        folder = teacher_folder()
        first, second = (self.stored(tmp_path / name, folder, 2)[1] for name in ("first", "second"))
        for timestep in first:
            np.testing.assert_array_equal(first[timestep], second[timestep])

    def test_the_network_gets_so_many(
        self, tmp_path: Path, teacher_folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = mixture_spec(tmp_path, teacher=str(teacher_folder()), samples=16, shard_samples=16, block_samples=8)
        monkeypatch.setattr("advkd.teachers.batching._PEAKS", {})
        needed = micro_batch(cached_teacher(spec.teacher, "cpu"), spec.solver, 8)
        share = needed.base_bytes + 5 * needed.sample_bytes
        monkeypatch.setattr("advkd.teachers.batching.memory_capacity", lambda device: 2 * (os.cpu_count() or 1) * share)
        seen, states = [], NetworkTeacher.states
        monkeypatch.setattr(
            NetworkTeacher, "states", lambda self, start, *rest: seen.append(len(start)) or states(self, start, *rest)
        )
        precompute(spec)
        assert seen == [4, 4, 4, 4]

    def test_it_divides_a_block(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"a micro-batch must divide the block of 8 samples, got 3"):
            precompute(mixture_spec(tmp_path, micro_batch=3))
        with pytest.raises(ValueError, match=r"PrecomputeSpec\.micro_batch must be positive, got 0"):
            mixture_spec(tmp_path, micro_batch=0)


@pytest.mark.parametrize(
    ("shape", "dtype", "block", "shard"),
    [
        ((1, 16, 16), "float16", 128, 512),
        ((4, 32, 32), "float16", 128, 512),
        ((3, 256, 256), "float16", 32, 32),
        ((3, 256, 256), "float32", 16, 16),
        ((3, 1024, 1024), "float16", 2, 8),
    ],
)
def test_blocks_and_shards_are_sized_by_bytes(shape: tuple[int, ...], dtype: str, block: int, shard: int) -> None:
    teacher = UnseenTeacher.of("x".join(map(str, shape)))
    identity = trajectory_spec(PrecomputeSpec(dtype=dtype), teacher)
    assert (identity.block_samples, identity.shard_samples) == (block, shard)
    assert block == 1 or block * identity.trajectory_bytes <= 64 * 2**20
