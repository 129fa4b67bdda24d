"""Filling a store: which shards are missing, one of them, all of them, the seal.

The unit of work is a shard: `share_shard` is what a Prefect task, a Ray worker or a loop calls. Whether something is
already done is decided by the store alone.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from advkd.device import torch_threads
from advkd.networks import keep_decoder
from advkd.runtime import Report, Tally
from advkd.teachers import Teacher
from advkd.trajectories.identity import cached_teacher, trajectory_spec
from advkd.trajectories.precompute_spec import PrecomputeSpec
from advkd.trajectories.shard import ComputeSlots, Progress, write_shard
from storage import CommitRecord, TrajectorySpec, Writer, exists, missing_shards, open_writer, store_uri
from storage.records import commit_uri
from storage.writing import CLAIMS, Sealing, claim_uri, seal_once


@dataclass(frozen=True)
class StoreResult:
    """What precompute leaves behind: where the store is and how much of it had to be computed.

    Attributes:
        uri: of the store.
        digest: of its spec.
        num_samples: trajectories that it shows.
        shards: that it has.
        sealed: whether this call sealed the store; False if it was sealed already.
        computed: shards that this call computed.
        computed_samples: trajectories in those, the hidden ones of the last shard included.
        passes: of the teacher's network over all of these.
        bytes_written: of those shards' objects.
        seconds: wall time of the call.
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
        """Of a sealed store, and of the bytes of each shard that was computed."""
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
            passes=samples * manifest.spec.solver_steps,
            bytes_written=sum(written),
            seconds=seconds,
        )


@dataclass(frozen=True)
class Filling:
    """A store that is being filled: its teacher, its identity and its writer, each found once.

    Attributes:
        spec: what is asked for.
        teacher: whose trajectories.
        identity: of the store.
    """

    spec: PrecomputeSpec
    teacher: Teacher
    identity: TrajectorySpec

    @classmethod
    def of(cls, spec: PrecomputeSpec) -> "Filling":
        """Of a spec; `ValueError` for timesteps that the solver does not pass through, or an impossible shard size."""
        teacher = cached_teacher(spec.teacher, spec.device)
        return cls(spec, teacher, trajectory_spec(spec, teacher))

    @cached_property
    def uri(self) -> str:
        """The store."""
        return store_uri(self.spec.store, self.identity)

    @cached_property
    def writer(self) -> Writer:
        """Of the store, for all of its shards."""
        return open_writer(self.spec.store, self.identity)

    def missing(self) -> list[int]:
        """Numbers of the shards that are yet to be computed."""
        return missing_shards(self.spec.store, self.identity, self.spec.samples)

    def compute(self, index: int, progress: Progress | None = None, slots: ComputeSlots | None = None) -> CommitRecord:
        """Computes, writes and commits a shard; see `advkd.trajectories.shard.write_shard`."""
        return write_shard(self.teacher, self.writer, self.identity, index, progress, slots)

    def share(self, index: int, progress: Progress | None, slots: ComputeSlots | None) -> CommitRecord | None:
        """Computes a shard unless another run has or does just now: None then, else its record."""
        claim = claim_uri(self.uri, index)
        if CLAIMS.take(claim) is not None:
            return None
        try:
            # Another run may have finished it between the plan and the claim.
            return None if exists(commit_uri(self.uri, index)) else self.compute(index, progress, slots)
        finally:
            CLAIMS.release(claim)

    def holder(self, index: int) -> str | None:
        """Which other run is at work on a shard, None if nobody is."""
        other = CLAIMS.holder(claim_uri(self.uri, index))
        return None if other is None else other.holder

    def seal(self) -> Sealing:
        """Writes the manifest, last, unless it is there; refused while shards are missing.

        The autoencoder of latents is there before, so that students can be trained where the teacher is not.
        """
        keep_decoder(self.spec.store, self.teacher.space)
        return seal_once(self.spec.store, self.identity, self.spec.samples)


@lru_cache(maxsize=2)
def _filling(spec: PrecomputeSpec) -> Filling:
    """The tasks of one run share it: a shard derives no identity and opens no writer of its own."""
    return Filling.of(spec)


def what_is_missing(spec: PrecomputeSpec) -> tuple[TrajectorySpec, list[int]]:
    """The store's identity and the numbers of the shards that are still missing from it.

    A run begins with it, and so does whatever its shards share.
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
    """All of it in this process: what is already there is not computed again.

    Shards are the parallelism: `workers` of them at a time, one CPU thread of torch each, so that bytes do not depend
    on how many there are, and as many more are uploaded meanwhile. `progress(samples done, samples to compute)` counts
    the missing shards only.
    """
    slots = ComputeSlots(workers)
    began = time.monotonic()
    filling = Filling.of(spec)
    identity, missing = filling.identity, filling.missing()
    tally = Tally(_reporter(progress), "trajectories", len(missing) * identity.shard_samples)
    failed = threading.Event()
    written: list[int] = []

    def compute(index: int) -> None:
        # A thread that has failed takes the next shard before anybody can cancel that: against a host that is dead, it
        # would wait once more.
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
            # After a failure nothing new begins, and what runs stops at its next block; committed shards stay.
            tally.stop()
            pool.shutdown(cancel_futures=True)
    return StoreResult.of(spec, filling.seal(), written, time.monotonic() - began)


def _reporter(progress: Progress | None) -> Report:
    def report(label: str, done: int, total: int, note: str = "") -> None:
        if progress is not None:
            progress(done, total)

    return report
