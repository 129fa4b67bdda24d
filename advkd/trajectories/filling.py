"""Fills a store: lists the missing shards, computes one or all of them, and seals the store.

The unit of work is a shard: Prefect tasks, Ray workers and loops call `share_shard`. Only the store tells what is
already done.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from advkd.device import torch_threads
from advkd.networks import keep_decoder, keep_embeddings
from advkd.runtime import Report, Tally, limit_heaps
from advkd.teachers import SolverSpec, Teacher, micro_batch
from advkd.trajectories.identity import cached_teacher, sample_passes, trajectory_spec
from advkd.trajectories.precompute_spec import PrecomputeSpec
from advkd.trajectories.shard import ComputeSlots, Progress, write_shard
from storage import CommitRecord, TrajectorySpec, Writer, exists, missing_shards, open_writer, store_uri
from storage.records import commit_uri
from storage.writing import CLAIMS, Sealing, claim_uri, seal_once

_KEEPING = threading.Lock()


@dataclass(frozen=True)
class StoreResult:
    """Result of precompute: the store, and how much of it this call has computed.

    Attributes:
        uri: URI of the store.
        digest: digest of the store's spec.
        num_samples: number of trajectories that readers see.
        shards: number of shards in the store.
        sealed: whether this call sealed the store; False if it was sealed already.
        computed: number of shards that this call computed.
        computed_samples: number of trajectories in these shards, including hidden ones of the last shard.
        passes: number of passes of the teacher's network for these trajectories.
        bytes_written: bytes of these shards' objects.
        seconds: wall time of the call in seconds.
    """

    uri: str
    digest: str
    num_samples: int
    shards: int
    sealed: bool
    computed: int
    computed_samples: int
    passes: int
    bytes_written: int
    seconds: float

    @classmethod
    def of(cls, spec: PrecomputeSpec, sealing: Sealing, written: Sequence[int], seconds: float) -> "StoreResult":
        """Builds the result for a sealed store, from the bytes of each computed shard."""
        manifest = sealing.manifest
        samples = len(written) * manifest.spec.shard_samples
        return cls(
            uri=store_uri(spec.store, manifest.spec),
            digest=manifest.digest,
            num_samples=manifest.num_samples,
            shards=manifest.num_shards,
            sealed=sealing.new,
            computed=len(written),
            computed_samples=samples,
            passes=samples * sample_passes(manifest.spec),
            bytes_written=sum(written),
            seconds=seconds,
        )


@dataclass(frozen=True)
class Filling:
    """A store that is being filled, with its teacher, identity and writer, which are created once.

    Attributes:
        spec: settings of precompute.
        teacher: teacher of the trajectories.
        identity: spec of the store.
    """

    spec: PrecomputeSpec
    teacher: Teacher
    identity: TrajectorySpec

    @classmethod
    def of(cls, spec: PrecomputeSpec) -> "Filling":
        """Builds the filling of a spec.

        Raises:
            ValueError: the solver does not pass through a timestep, or the shard size is impossible.
        """
        # Shards are computed by threads.
        limit_heaps(1)
        teacher = cached_teacher(spec.teacher, spec.device, spec.precision)
        return cls(spec, teacher, trajectory_spec(spec, teacher))

    @cached_property
    def uri(self) -> str:
        """URI of the store."""
        return store_uri(self.spec.store, self.identity)

    @cached_property
    def writer(self) -> Writer:
        """Writer of the store, for all of its shards; by then what its states are computed with is kept beside it."""
        self._keep_embeddings()
        return open_writer(self.spec.store, self.identity)

    @cached_property
    def micro_batch(self) -> int:
        """Number of samples that go through the teacher's network at once."""
        solver = SolverSpec(kind=self.identity.sampler, steps=self.identity.solver_steps)
        return micro_batch(self.teacher, solver, self.identity.block_samples, self.spec.micro_batch).samples

    def missing(self) -> list[int]:
        """Returns the numbers of the missing shards."""
        return missing_shards(self.spec.store, self.identity, self.spec.samples)

    def compute(self, index: int, progress: Progress | None = None, slots: ComputeSlots | None = None) -> CommitRecord:
        """Computes, writes and commits a shard; see `advkd.trajectories.shard.write_shard`."""
        return write_shard(self.teacher, self.writer, self.identity, index, progress, slots, self.micro_batch)

    def share(self, index: int, progress: Progress | None, slots: ComputeSlots | None) -> CommitRecord | None:
        """Computes a shard and returns its record; returns None if another run has computed it or is computing it."""
        claim = claim_uri(self.uri, index)
        if CLAIMS.take(claim) is not None:
            return None
        try:
            # Another run may have finished it between the plan and the claim.
            return None if exists(commit_uri(self.uri, index)) else self.compute(index, progress, slots)
        finally:
            CLAIMS.release(claim)

    def holder(self, index: int) -> str | None:
        """Returns which other run is computing a shard, None if there is none."""
        other = CLAIMS.holder(claim_uri(self.uri, index))
        return None if other is None else other.holder

    def seal(self) -> Sealing:
        """Writes the manifest, last, unless it is there; refused while shards are missing.

        The autoencoder of latents and the embeddings of prompts are there before, so that students can be trained where
        the teacher is not.
        """
        keep_decoder(self.spec.store, self.teacher.space)
        self._keep_embeddings()
        return seal_once(self.spec.store, self.identity, self.spec.samples)

    def _keep_embeddings(self) -> None:
        """Has the embeddings of prompts be beside the store."""
        with _KEEPING:
            keep_embeddings(self.spec.store, self.teacher.conditions)


@lru_cache(maxsize=2)
def _filling(spec: PrecomputeSpec) -> Filling:
    """Caches the filling, so the tasks of a run share its identity and writer."""
    return Filling.of(spec)


def what_is_missing(spec: PrecomputeSpec) -> tuple[TrajectorySpec, list[int]]:
    """Returns the store's identity and the numbers of its missing shards.

    A run calls this first, which also creates what its shards share.
    """
    _filling.cache_clear()
    filling = _filling(spec)
    return filling.identity, filling.missing()


def share_shard(
    spec: PrecomputeSpec, index: int, progress: Progress | None = None, slots: ComputeSlots | None = None
) -> CommitRecord | None:
    """See `Filling.share`."""
    return _filling(spec).share(index, progress, slots)


def shard_holder(spec: PrecomputeSpec, index: int) -> str | None:
    """See `Filling.holder`."""
    return _filling(spec).holder(index)


def seal_store(spec: PrecomputeSpec) -> Sealing:
    """See `Filling.seal`."""
    return _filling(spec).seal()


def precompute(spec: PrecomputeSpec, progress: Progress | None = None, workers: int = 1) -> StoreResult:
    """Computes all missing shards in this process, and seals the store.

    Computes `workers` shards at a time, each with one CPU thread of torch, so that bytes do not depend on the number
    of workers; as many more shards are uploaded meanwhile. `progress(samples done, samples to compute)` counts only
    missing shards.
    """
    slots = ComputeSlots(workers)
    began = time.monotonic()
    filling = Filling.of(spec)
    identity, missing = filling.identity, filling.missing()
    tally = Tally(_reporter(progress), "trajectories", len(missing) * identity.shard_samples)
    failed = threading.Event()
    written: list[int] = []

    def compute(index: int) -> None:
        # After a failure, a thread takes the next shard before it can be cancelled, and would wait for a dead host
        # again.
        if failed.is_set():
            return
        try:
            written.append(filling.compute(index, partial(tally, index), slots).total_bytes)
        except BaseException:
            failed.set()
            raise

    with torch_threads(1), ThreadPoolExecutor(slots.threads) as pool:
        shards = [pool.submit(compute, index) for index in missing]
        try:
            for shard in as_completed(shards):
                shard.result()
        finally:
            # After a failure no shard starts, and running ones stop at their next block; committed shards stay.
            tally.stop()
            pool.shutdown(cancel_futures=True)
    return StoreResult.of(spec, filling.seal(), written, time.monotonic() - began)


def _reporter(progress: Progress | None) -> Report:
    def report(label: str, done: int, total: int, note: str = "") -> None:
        if progress is not None:
            progress(done, total)

    return report
