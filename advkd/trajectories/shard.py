"""Computes, writes and commits one shard of a store: a teacher's states for a range of samples.

The store's identity holds everything that is needed to compute a damaged shard again. The device computes batch n+1
while batch n is encoded, and shard n+1 while shard n is uploaded; `ComputeSlots` bounds both.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import torch

from advkd.diffusion import start_of
from advkd.runtime import kept_heap
from advkd.teachers import SolverSpec, Teacher, TeacherChangedError
from storage import Buffer, CommitRecord, States, TrajectorySpec, Writer
from storage.records import solver_seeds, start_noise

Progress = Callable[[int, int], None]

_UPLOADS_PER_SLOT = 1


class ComputeSlots:
    """Bounds how many shards of a process are computed at once, and how many are uploaded meanwhile.

    At most `threads` shards are in memory: each in its stored form, and those that are uploaded also as objects,
    twice for a moment while the objects are made. So writing a store of any size needs at most
    `2 * workers * (states + 2 * objects)` bytes, with the sizes of one shard. If uploads are slow, computing pauses
    when all threads wait for one.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers must be positive, got {workers}; use one per CPU core")
        self.threads = workers * (1 + _UPLOADS_PER_SLOT)
        """Number of threads that should call `write_shard`."""
        self._slots = threading.BoundedSemaphore(workers)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Waits for a slot, and holds it inside the block."""
        with self._slots:
            yield


def write_shard(
    teacher: Teacher,
    writer: Writer,
    identity: TrajectorySpec,
    index: int,
    progress: Progress | None = None,
    slots: ComputeSlots | None = None,
    micro_batch: int | None = None,
) -> CommitRecord:
    """Computes, writes and commits shard `index`.

    Every batch of the teacher has as many samples, so a sample's arithmetic does not depend on the number of samples.

    Args:
        teacher: teacher that the identity names.
        writer: writer of the store.
        identity: spec of the store.
        index: number of the shard.
        progress: `progress(samples done, samples of the shard)`, called after every batch.
        slots: slots for which computing waits; None: it does not wait.
        micro_batch: samples of a batch, a divisor of `block_samples`; None: whole blocks.

    Raises:
        NonFiniteError: the teacher's output has NaN or infinity, or overflows; nothing is committed.
        ValueRangeError: a state exceeds the range declared for uint8; nothing is committed.
        TeacherChangedError: the teacher's solver has another config than the one in the identity.
        StoreError: the store cannot be written.
    """
    _require_same_solver(teacher, identity)
    with slots.computing() if slots else nullcontext(), kept_heap():
        began = time.monotonic()
        buffer = writer.begin(index)
        _fill(teacher, identity, buffer, progress, micro_batch or identity.block_samples)
        elapsed = time.monotonic() - began
    return buffer.commit(elapsed_seconds=elapsed)


def _require_same_solver(teacher: Teacher, identity: TrajectorySpec) -> None:
    config = teacher.solver_config(SolverSpec(kind=identity.sampler, steps=identity.solver_steps))
    # The identity holds the config after a JSON round trip.
    if json.loads(json.dumps(config)) != identity.sampler_config:
        differing = sorted(
            key for key in {*config, *identity.sampler_config} if config.get(key) != identity.sampler_config.get(key)
        )
        raise TeacherChangedError(
            f"a store's states must all be of one solver, got another config of {identity.sampler!r} in {differing}; "
            "use the release of diffusers that the store was begun with"
        )


def shifted(progress: Progress, before: int, total: int) -> Progress:
    """Converts the progress of one piece to progress of the whole."""
    return lambda done, _: progress(before + done, total)


def _fill(teacher: Teacher, identity: TrajectorySpec, buffer: Buffer, progress: Progress | None, samples: int) -> None:
    first = buffer.index * identity.shard_samples
    waiting: Future[None] | None = None
    with ThreadPoolExecutor(1, "encode") as encoder:
        for row in range(0, identity.shard_samples, samples):
            states = _batch(teacher, identity, first + row, samples)
            if waiting is not None:
                # At most two batches are in memory in the teacher's dtype.
                waiting.result()
            waiting = encoder.submit(buffer.put, row, states)
            if progress is not None:
                progress(row + samples, identity.shard_samples)
        if waiting is not None:
            waiting.result()


def _batch(teacher: Teacher, identity: TrajectorySpec, first: int, samples: int) -> States:
    solver = SolverSpec(kind=identity.sampler, steps=identity.solver_steps)
    indices = range(first, first + samples)
    noise = torch.from_numpy(start_noise(identity, first, len(indices)))
    start = start_of(noise, teacher.conditions, identity.base_seed, indices)
    seeds = None if solver.deterministic else solver_seeds(identity.base_seed, indices.start, indices.stop)
    yielded = teacher.states(start, solver, identity.timesteps, seeds)
    return {t: state.cpu().numpy() for t, state in zip(identity.timesteps, yielded, strict=True)}
