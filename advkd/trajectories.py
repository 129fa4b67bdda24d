"""One shard of a store: a teacher's states for a range of samples, computed, written and committed.

Everything needed stands in the store's identity, so a damaged shard is computed again from that alone.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from advkd.teachers import SolverSpec, Teacher
from storage import CommitRecord, NonFiniteError, States, TrajectorySpec, open_writer
from storage.seeding import initial_noise, solver_seeds

Progress = Callable[[int, int], None]


def write_shard(
    teacher: Teacher, identity: TrajectorySpec, root: str, index: int, progress: Progress | None = None
) -> CommitRecord:
    """Computes, writes and commits shard `index`; `progress(samples done, samples of the shard)` after every block.

    Every block has `block_samples` samples, so the arithmetic of a sample never depends on how many were asked for.

    Raises:
        NonFiniteError: the teacher's output has NaN or infinity; nothing is committed.
        StoreError: the store cannot be written.
    """
    began = time.monotonic()
    solver = SolverSpec(kind=identity.sampler, steps=identity.solver_steps)
    shape = (identity.shard_samples, *identity.sample_shape)
    states: States = {t: np.empty(shape, dtype=identity.dtype) for t in identity.timesteps}
    for offset in range(0, identity.shard_samples, identity.block_samples):
        _fill_block(teacher, identity, solver, states, index * identity.shard_samples + offset, offset)
        if progress is not None:
            progress(offset + identity.block_samples, identity.shard_samples)
    writer = open_writer(root, identity)
    return writer.write_shard(index, states, elapsed_seconds=time.monotonic() - began)


def shifted(progress: Progress, before: int, total: int) -> Progress:
    """Progress of one piece as progress of the whole."""
    return lambda done, _: progress(before + done, total)


def _fill_block(
    teacher: Teacher, identity: TrajectorySpec, solver: SolverSpec, states: States, first: int, offset: int
) -> None:
    last = first + identity.block_samples
    noise = torch.from_numpy(initial_noise(identity.base_seed, first, last, identity.sample_shape))
    seeds = None if solver.deterministic else solver_seeds(identity.base_seed, first, last)
    yielded = teacher.states(noise, solver, identity.timesteps, seeds)
    for timestep, state in zip(identity.timesteps, yielded, strict=True):
        where = f"from {teacher.name!r} at timestep {timestep} in samples {first} to {last - 1}"
        if not bool(torch.isfinite(state).all()):
            raise NonFiniteError(
                f"a teacher's states must be finite, got NaN or infinity {where}; check the teacher's weights, or its "
                "scheduler's settings"
            )
        largest = float(state.abs().max())
        if largest > float(np.finfo(identity.dtype).max):
            raise NonFiniteError(
                f"a teacher's states must fit the stored dtype, got {largest:.3g} {where}, an overflow of "
                f"{identity.dtype}; store float32, or check the teacher"
            )
        states[timestep][offset : offset + identity.block_samples] = state.cpu().numpy()
