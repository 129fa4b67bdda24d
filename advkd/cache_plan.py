"""What a store will hold and cost, before anything is spent: pure arithmetic, nothing is loaded, read or written.

Bytes are those of the layout's objects to the byte, requests those of this package's writer and reader, failed and
repeated ones aside. Only the JSON records (`commits/`, `spec.json`, the manifest) are counted but not weighed: their
lengths depend on the statistics that are yet to be computed, about 1 kB per captured timestep and shard at most.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storage import TrajectorySpec
from storage.layouts import layout_of
from storage.shard_index import PAGE_SHARDS

_KEYS_PER_LISTING = 1000
_MANY_SHARDS = 10_000
_SMALL_OBJECT = 8 * 2**20
_LARGEST_OBJECT = 5 * 2**30
_FEW_SAMPLES = 8
_LONG_SECONDS = 30 * 86_400.0
_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests to an object store, as they are billed."""

    put: int = 0
    """PUT."""
    get: int = 0
    """GET and HEAD, also those that find nothing."""
    list: int = 0
    """LIST, one per 1000 keys; billed like PUT."""

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(put=self.put + other.put, get=self.get + other.get, list=self.list + other.list)

    def __mul__(self, times: int) -> "Requests":
        return Requests(put=times * self.put, get=times * self.get, list=times * self.list)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a provider asks, in USD; 0 where it asks nothing."""

    thousand_puts: float = 0.0
    """Per 1000 PUT or LIST."""
    thousand_gets: float = 0.0
    """Per 1000 GET or HEAD."""
    gigabyte_month: float = 0.0
    """Per 10^9 bytes held for a month."""
    worker_hour: float = 0.0
    """Per hour of one worker."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"Prices.{name} must be a finite number of USD, 0 or more, got {value}; correct it")

    def requests(self, asked: Requests) -> float:
        """USD for some requests."""
        return (asked.put + asked.list) / 1000 * self.thousand_puts + asked.get / 1000 * self.thousand_gets


@dataclass(frozen=True, kw_only=True)
class Costs:
    """USD."""

    compute: float | None
    """Of the busy workers; None without a teacher's speed."""
    making: float
    """Of the requests of precompute and seal."""
    month: float
    """Of holding the store for a month."""
    epoch: float
    """Of the requests of opening the store and reading it once."""


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """What `plan_cache` found out."""

    spec: TrajectorySpec
    num_samples: int
    """Samples asked for."""
    num_shards: int
    computed_samples: int
    """Samples in whole shards: `num_samples` and the hidden tail of the last shard."""
    data_objects: int
    data_bytes: int
    """Of all data objects, framing and checksums included: the manifest's `total_bytes`."""
    shard_bytes: int
    """Of the data objects of one shard."""
    largest_object: int
    """Bytes."""
    metadata_objects: int
    metadata_bytes: int
    """Of Zarr's `zarr.json` files; none in other layouts."""
    records: int
    """Commit records, `spec.json`, the manifest and the pages of its index."""
    precompute: Requests
    """Of one process that computes every shard; each further one adds a handful, each further run what finds out what is
    missing."""
    seal: Requests
    open: Requests
    epoch: Requests
    """Of one rank that reads every timestep once, without a cache."""
    epoch_bytes: int
    """Data bytes of that epoch."""
    passes: int
    """Network evaluations of one sample each: samples x solver steps, twice with guidance."""
    workers: int
    worker_seconds: float | None
    """Of computing, summed over workers; None without a teacher's speed."""
    wall_seconds: float | None
    """Until the last worker is done, whole shards to each."""
    costs: Costs | None
    """None without prices."""
    warnings: tuple[str, ...]

    @property
    def total_objects(self) -> int:
        """All objects of the sealed store."""
        return self.data_objects + self.metadata_objects + self.records


def plan_cache(
    spec: TrajectorySpec,
    num_samples: int,
    *,
    workers: int = 1,
    passes_per_second: float | None = None,
    prices: Prices | None = None,
) -> CachePlan:
    """What the store of a spec with `num_samples` samples will hold and cost.

    Args:
        spec: What will be computed.
        num_samples: Samples that readers are to see.
        workers: Processes that compute one shard each at a time.
        passes_per_second: Samples that pass through the teacher's network per second in one worker.
        prices: What the provider asks, None: no costs.

    Raises:
        ValueError: A count or speed that is not positive.
    """
    if workers < 1 or (passes_per_second is not None and not 0 < passes_per_second < float("inf")):
        raise ValueError(
            f"a plan needs one worker or more, and a positive speed, got workers={workers} and "
            f"passes_per_second={passes_per_second}; correct them"
        )
    layout = layout_of(spec)
    shards, sizes = spec.num_shards(num_samples), layout.object_bytes(spec)
    metadata = layout.metadata(spec, num_samples)
    computed = shards * spec.shard_samples
    sample_passes = spec.solver_steps * (1 if spec.guidance_scale is None else 2)
    worker_seconds = wall_seconds = None
    if passes_per_second is not None:
        shard_seconds = spec.shard_samples * sample_passes / passes_per_second
        worker_seconds = shards * shard_seconds
        wall_seconds = -(-shards // workers) * shard_seconds
    read = _sizes_read(spec, sizes)
    pages = -(-shards // PAGE_SHARDS)
    precompute = _precompute_requests(shards, len(sizes))
    seal = _seal_requests(shards, len(metadata) + pages)
    epoch = Requests(get=shards * len(read) + pages)
    data_bytes = shards * sum(sizes)
    costs = None
    if prices is not None:
        costs = Costs(
            compute=None if worker_seconds is None else worker_seconds / 3600 * prices.worker_hour,
            making=prices.requests(precompute + seal),
            month=(data_bytes + sum(map(len, metadata.values()))) / _GIGABYTE * prices.gigabyte_month,
            epoch=prices.requests(_OPEN + epoch),
        )
    return CachePlan(
        spec=spec,
        num_samples=num_samples,
        num_shards=shards,
        computed_samples=computed,
        data_objects=shards * len(sizes),
        data_bytes=data_bytes,
        shard_bytes=sum(sizes),
        largest_object=max(sizes),
        metadata_objects=len(metadata),
        metadata_bytes=sum(map(len, metadata.values())),
        records=shards + pages + 2,
        precompute=precompute,
        seal=seal,
        open=_OPEN,
        epoch=epoch,
        epoch_bytes=shards * sum(read),
        passes=computed * sample_passes,
        workers=workers,
        worker_seconds=worker_seconds,
        wall_seconds=wall_seconds,
        costs=costs,
        warnings=tuple(_warnings(spec, num_samples, sizes, workers, worker_seconds)),
    )


def _precompute_requests(shards: int, objects: int) -> Requests:
    raise NotImplementedError


def _seal_requests(shards: int, metadata: int) -> Requests:
    raise NotImplementedError


def _sizes_read(spec: TrajectorySpec, sizes: Sequence[int]) -> list[int]:
    """Bytes of the objects of a shard that an epoch reads: not the index for single trajectories beside a tar."""
    templates = layout_of(spec).templates(spec)
    return [size for template, size in zip(templates, sizes, strict=True) if not template.endswith(".idx.json")]


def _warnings(
    spec: TrajectorySpec, num_samples: int, sizes: Sequence[int], workers: int, worker_seconds: float | None
) -> Iterator[str]:
    shards = spec.num_shards(num_samples)
    hidden = shards * spec.shard_samples - num_samples
    small = sum(sizes) / len(sizes)
    if max(sizes) >= _LARGEST_OBJECT:
        fitting = spec.shard_samples * _LARGEST_OBJECT // max(sizes)
        yield (
            f"an object must be smaller than 5 GiB to be put in one request, but the largest holds {max(sizes)} bytes; "
            f"use --shard-samples of {fitting} or less"
        )
    if shards > _MANY_SHARDS and small < _SMALL_OBJECT:
        yield (
            f"{shards} shards of objects of {small / 2**20:.2f} MiB on average: requests will cost more time than "
            "bytes; use a larger --shard-samples"
        )
    if spec.shard_samples < _FEW_SAMPLES < num_samples:
        yield (
            f"{shards} shards for {num_samples} samples, {spec.shard_samples} each: shuffling and teacher batches want "
            "more per shard; use a larger --shard-samples"
        )
    if hidden > num_samples // 10:
        yield (
            f"shards are computed whole: {hidden} samples beyond the {num_samples} asked for are computed and stored "
            "too; ask for them as well, or use a smaller --shard-samples"
        )
    if workers > shards:
        yield f"{shards} shards keep {shards} workers busy, {workers - shards} of {workers} have nothing to do"
    if worker_seconds is not None and worker_seconds / workers > _LONG_SECONDS:
        yield (
            f"computing takes more than 30 days on {workers} worker(s); {math.ceil(worker_seconds / _LONG_SECONDS)} "
            "would be done by then"
        )
