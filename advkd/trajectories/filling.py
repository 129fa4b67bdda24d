"""From a teacher to a sealed store: which trajectories, which shards, one shard, all of them.

The unit of work is a shard: `compute_shard` is what a Prefect task, a Ray worker or a loop calls. Whether something is
already done is decided by the store alone.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from advkd.device import torch_threads
from advkd.diffusion import check_captures, check_shrink, solver_grid, spread_captures
from advkd.runtime import Report, Tally
from advkd.teachers import SolverSpec, Teacher, load_teacher
from advkd.trajectories.shard import ComputeSlots, Progress, write_shard
from storage import (
    CommitRecord,
    TrajectorySpec,
    default_shard_samples,
    exists,
    missing_shards,
    open_writer,
    store_uri,
)
from storage.layouts import LAYOUTS
from storage.records import DTYPES, NOISES, check_seed, commit_uri
from storage.writing import CLAIMS, Sealing, claim_uri, seal_once

DEFAULT_BLOCK = 128
_LOADING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PrecomputeSpec:
    """Which trajectories to cache, and where.

    Attributes:
        teacher: embedded name, diffusers folder (or its s3:// URI) or hub id.
        store: root URI of the stores, a local path or `s3://bucket/prefix`.
        samples: trajectories; asking for more later extends the same store.
        solver: the teacher's solver and its number of steps.
        captures: K, the states kept besides the noise, the clean one included.
        shrink: how their distances in solver steps shrink towards the clean state, in (0, 1]: 1 spreads them evenly,
            with 0.5 each is half of the one before.
        timesteps: the captured timesteps themselves, from noise to clean, instead of `captures` and `shrink`.
        seed: base seed of the noises, in [0, 2**63).
        format: layout of the store: "zarr", "webdataset", or one of an installed package (`storage.layouts.LAYOUTS`).
        dtype: "float16" or "float32".
        noise: "stored", or "seeded": drawn again from the seed by every reader, the same values either way.
        resolutions: `(H_k, W_k)` at which each captured timestep is stored, the noise's first; None: all in full.
        uint8: `(timestep, low, high)` of near-clean states that are stored as uint8 of that range.
        shard_samples: samples per shard, a multiple of `block_samples`; None: at most 512 and about 64 MiB.
        block_samples: samples per batch of the teacher and per chunk of the store.
        device: torch device of the teacher, "cpu" or "cuda".
    """

    teacher: str = "digits"
    store: str = "runs/stores"
    samples: int = 8192
    solver: SolverSpec = field(default_factory=SolverSpec)
    captures: int = 4
    shrink: float = 1.0
    timesteps: tuple[int, ...] | None = None
    seed: int = 0
    format: str = "zarr"
    dtype: str = "float16"
    noise: str = "stored"
    resolutions: tuple[tuple[int, int], ...] | None = None
    uint8: tuple[tuple[int, float, float], ...] = ()
    shard_samples: int | None = None
    block_samples: int = DEFAULT_BLOCK
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_shrink(self.shrink)
        LAYOUTS.choose(self.format, "PrecomputeSpec.format")
        for name, allowed in (("dtype", DTYPES), ("noise", NOISES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"PrecomputeSpec.{name} must be one of {allowed}, got {getattr(self, name)!r}; choose one of them"
                )
        for name in ("samples", "captures", "block_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"PrecomputeSpec.{name} must be positive, got {getattr(self, name)}; use at least 1")
        if self.shard_samples is not None and (self.shard_samples < 1 or self.shard_samples % self.block_samples):
            raise ValueError(
                f"PrecomputeSpec.shard_samples must be a positive multiple of block_samples ({self.block_samples}), "
                f"got {self.shard_samples}; choose another shard size"
            )


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


def cached_teacher(source: str, device: str) -> Teacher:
    """The teacher, loaded once per process: the shards of one store share it, in any number of threads."""
    with _LOADING:
        return _loaded_teacher(source, device)


@lru_cache(maxsize=2)
def _loaded_teacher(source: str, device: str) -> Teacher:
    return load_teacher(source, device)


def trajectory_spec(spec: PrecomputeSpec, teacher: Teacher) -> TrajectorySpec:
    """The identity of the store that `spec` asks for.

    Raises:
        ValueError: timesteps that the solver does not pass through, or an impossible shard size.
    """
    grid = solver_grid(teacher.schedule.train_timesteps, spec.solver.steps)
    asked = spec.timesteps
    timesteps = spread_captures(grid, spec.captures, spec.shrink) if asked is None else check_captures(grid, asked)
    identity = TrajectorySpec(
        teacher=teacher.name,
        fingerprint=teacher.fingerprint,
        sampler=spec.solver.kind,
        deterministic=spec.solver.deterministic,
        sampler_config=teacher.solver_config(spec.solver),
        solver_steps=spec.solver.steps,
        timesteps=timesteps,
        signal=tuple(teacher.schedule.signal(t) for t in timesteps),
        sigma=tuple(teacher.schedule.sigma(t) for t in timesteps),
        sample_shape=teacher.sample_shape,
        base_seed=spec.seed,
        dtype=spec.dtype,
        noise=spec.noise,
        resolutions=spec.resolutions,
        uint8_ranges=_uint8_ranges(spec, timesteps),
        layout=spec.format,
        shard_samples=spec.shard_samples or spec.block_samples,
        block_samples=spec.block_samples,
    )
    if spec.shard_samples is not None:
        return identity
    whole_blocks = max(1, default_shard_samples(identity.trajectory_bytes) // spec.block_samples)
    return replace(identity, shard_samples=whole_blocks * spec.block_samples)


def _uint8_ranges(spec: PrecomputeSpec, timesteps: tuple[int, ...]) -> tuple[tuple[float, float] | None, ...]:
    declared = {timestep: (low, high) for timestep, low, high in spec.uint8}
    if not set(declared) <= set(timesteps):
        raise ValueError(
            f"PrecomputeSpec.uint8 must name captured timesteps, got {sorted(declared)} for {timesteps}; name some of "
            "these"
        )
    return tuple(declared.get(t) for t in timesteps)


def what_is_missing(spec: PrecomputeSpec) -> tuple[TrajectorySpec, list[int]]:
    """The store's identity and the numbers of the shards that are still missing from it."""
    identity = trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))
    return identity, missing_shards(spec.store, identity, spec.samples)


def compute_shard(
    spec: PrecomputeSpec, index: int, progress: Progress | None = None, slots: ComputeSlots | None = None
) -> CommitRecord:
    """Computes, writes and commits shard `index`; see `advkd.trajectories.write_shard`."""
    teacher = cached_teacher(spec.teacher, spec.device)
    identity = trajectory_spec(spec, teacher)
    return write_shard(teacher, open_writer(spec.store, identity), identity, index, progress, slots)


def share_shard(
    spec: PrecomputeSpec, index: int, progress: Progress | None = None, slots: ComputeSlots | None = None
) -> CommitRecord | None:
    """Computes shard `index` unless another run has or does just now: None then, else its record."""
    identity = trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))
    uri = store_uri(spec.store, identity)
    claim = claim_uri(uri, index)
    if CLAIMS.take(claim) is not None:
        return None
    try:
        # Another run may have finished it between the plan and the claim.
        if exists(commit_uri(uri, index)):
            return None
        return compute_shard(spec, index, progress, slots)
    finally:
        CLAIMS.release(claim)


def shard_holder(spec: PrecomputeSpec, index: int) -> str | None:
    """Which other run is at work on shard `index`, None if nobody is."""
    identity = trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))
    other = CLAIMS.holder(claim_uri(store_uri(spec.store, identity), index))
    return None if other is None else other.holder


def seal_store(spec: PrecomputeSpec) -> Sealing:
    """Writes the manifest, last, unless it is there; refused while shards are missing."""
    identity = trajectory_spec(spec, cached_teacher(spec.teacher, spec.device))
    return seal_once(spec.store, identity, spec.samples)


def precompute(spec: PrecomputeSpec, progress: Progress | None = None, workers: int = 1) -> StoreResult:
    """All of it in this process: what is already there is not computed again.

    Shards are the parallelism: `workers` of them at a time, one CPU thread of torch each, so that bytes do not depend
    on how many there are, and as many more are uploaded meanwhile. `progress(samples done, samples to compute)` counts
    the missing shards only.
    """
    slots = ComputeSlots(workers)
    began = time.monotonic()
    identity, missing = what_is_missing(spec)
    tally = Tally(_reporter(progress), "trajectories", len(missing) * identity.shard_samples)
    failed = threading.Event()
    written: list[int] = []

    def compute(index: int) -> None:
        # A thread that has failed takes the next shard before anybody can cancel that: against a host that is dead, it
        # would wait once more.
        if failed.is_set():
            return
        try:
            written.append(compute_shard(spec, index, partial(tally, index), slots).total_bytes)
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
    return StoreResult.of(spec, seal_store(spec), written, time.monotonic() - began)


def _reporter(progress: Progress | None) -> Report:
    def report(label: str, done: int, total: int, note: str = "") -> None:
        if progress is not None:
            progress(done, total)

    return report
