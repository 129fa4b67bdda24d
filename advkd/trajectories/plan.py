"""Plans a store: computes its size and costs by pure arithmetic, without loading, reading or writing anything.

Bytes are exactly those of the layout's objects; requests are those of this package's writer and reader, without failed
and repeated ones. Records and index are counted, but their bytes are not, because the length of a record depends on
statistics that are not computed yet: about 300 bytes per data object, and 1 kB per shard.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advkd.trajectories.costs import Costs, Prices, Requests
from advkd.trajectories.identity import sample_passes
from advkd.trajectories.shard import ComputeSlots
from storage import TrajectorySpec
from storage.layouts import layout_of
from storage.records import PAGE_SHARDS

_KEYS_PER_LISTING = 1000
_MANY_SHARDS = 10_000
_SMALL_OBJECT = 8 * 2**20
_LARGEST_OBJECT = 5 * 2**30
_FEW_SAMPLES = 8
_LONG_SECONDS = 30 * 86_400.0
_HELD_PAGES = 64

_FIND_OUT = Requests(get=2, list=1)
"""Requests that find the missing shards: manifest.json and spec.json, both absent, and an empty commits/."""
_SHARD_GETS = 4
"""GET requests before a shard is written: manifest.json and spec.json (`open_writer`), spec.json twice (`announce`)."""
_SEAL = Requests(put=2, get=2)
"""Requests of the seal: manifest.json, which is absent, and spec.json; then the manifest and its copy."""
_OPEN = Requests(get=1)
"""Requests that open a store: the manifest."""


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """Result of `plan_cache`."""

    spec: TrajectorySpec
    num_samples: int
    """Number of samples that readers see."""
    num_shards: int
    computed_samples: int
    """Number of samples in whole shards: `num_samples` and the hidden tail of the last shard."""
    data_objects: int
    data_bytes: int
    """Bytes of all data objects, framing and checksums included: the manifest's `total_bytes`."""
    shard_bytes: int
    """Bytes of the data objects of one shard."""
    largest_object: int
    """Bytes of the largest object."""
    writing_bytes: int
    """Memory of one process that computes `workers` shards at a time, at most, without the teacher."""
    metadata_objects: int
    metadata_bytes: int
    """Bytes of Zarr's `zarr.json` files; 0 in other layouts."""
    records: int
    """Number of commit records, `spec.json`, manifest, copy of the manifest and pages of the index."""
    precompute: Requests
    """Requests of one process that computes every shard; each further process or run lists the missing shards too."""
    seal: Requests
    open: Requests
    epoch: Requests
    """Requests of one rank that reads every timestep of every sample once, without a cache."""
    epoch_bytes: int
    """Data bytes of this epoch."""
    passes: int
    """Number of network passes per sample, summed: samples x solver steps, twice with guidance."""
    workers: int
    worker_seconds: float | None
    """Seconds of computing, summed over workers; None if the teacher's speed is unknown."""
    wall_seconds: float | None
    """Seconds until the last worker is done, if each computes whole shards; None if the teacher's speed is unknown."""
    costs: Costs | None
    """Costs in USD; None without prices."""
    warnings: tuple[str, ...]

    @property
    def total_objects(self) -> int:
        """Number of objects of the sealed store."""
        return self.data_objects + self.metadata_objects + self.records


def plan_cache(
    spec: TrajectorySpec,
    num_samples: int,
    *,
    workers: int = 1,
    passes_per_second: float | None = None,
    prices: Prices | None = None,
) -> CachePlan:
    """Computes size and costs of a spec's store with `num_samples` samples.

    Args:
        spec: spec of the store.
        num_samples: number of samples that readers will see.
        workers: number of processes, each of which computes one shard at a time.
        passes_per_second: samples per second that pass through the teacher's network in one worker; None: unknown.
        prices: prices of the provider; None: no costs.

    Raises:
        ValueError: a count or speed is not positive.
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
    passes = sample_passes(spec)
    worker_seconds = wall_seconds = None
    if passes_per_second is not None:
        shard_seconds = spec.shard_samples * passes / passes_per_second
        worker_seconds = shards * shard_seconds
        wall_seconds = -(-shards // workers) * shard_seconds
    read = _sizes_read(spec, sizes)
    pages = -(-shards // PAGE_SHARDS)
    precompute = _precompute_requests(shards, len(sizes))
    seal = _seal_requests(shards, len(metadata) + pages)
    epoch = Requests(get=shards * len(read) + _page_reads(shards, pages))
    epoch_bytes = shards * sum(read)
    data_bytes, metadata_bytes = shards * sum(sizes), sum(map(len, metadata.values()))
    costs = None
    if prices is not None:
        costs = Costs(
            compute=None if worker_seconds is None else worker_seconds / 3600 * prices.worker_hour,
            making=prices.requests(precompute + seal),
            month=prices.month(data_bytes + metadata_bytes),
            epoch=prices.requests(_OPEN + epoch) + prices.reading(epoch_bytes),
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
        # See `ComputeSlots`: states, and objects twice for a moment.
        writing_bytes=ComputeSlots(workers).threads * 3 * sum(sizes),
        metadata_objects=len(metadata),
        metadata_bytes=metadata_bytes,
        records=shards + pages + 3,
        precompute=precompute,
        seal=seal,
        open=_OPEN,
        epoch=epoch,
        epoch_bytes=epoch_bytes,
        passes=computed * passes,
        workers=workers,
        worker_seconds=worker_seconds,
        wall_seconds=wall_seconds,
        costs=costs,
        warnings=tuple(_warnings(spec, num_samples, sizes, workers, worker_seconds)),
    )


def _precompute_requests(shards: int, objects: int) -> Requests:
    """Counts the listing, then objects and record of every shard; the first one writes spec.json, others read it."""
    return _FIND_OUT + Requests(put=objects + 1, get=_SHARD_GETS) * shards + Requests(put=1, get=-1)


def _seal_requests(shards: int, metadata: int) -> Requests:
    """Counts the requests that list and read all records, and write metadata, index and manifest."""
    return _SEAL + Requests(put=metadata, get=shards, list=-(-shards // _KEYS_PER_LISTING))


def _page_reads(shards: int, pages: int) -> int:
    """Counts reads of index pages: each once, or, if a reader cannot keep all, once per miss in a random order."""
    return pages if pages <= _HELD_PAGES else shards - shards * _HELD_PAGES // pages


def _sizes_read(spec: TrajectorySpec, sizes: Sequence[int]) -> list[int]:
    """Returns the bytes of a shard's objects that an epoch reads: those in which states lie."""
    extents = layout_of(spec).extents(spec, spec.stored_timesteps, range(1))
    return [sizes[position] for position in sorted({extent.position for extent in extents})]


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
    if (reads := _page_reads(shards, pages := -(-shards // PAGE_SHARDS))) > pages:
        yield (
            f"a reader holds {_HELD_PAGES} of the {pages} pages of the index, and reads {reads} of them in an epoch in "
            f"random order; use a larger --shard-samples, for {_HELD_PAGES * PAGE_SHARDS} shards or fewer"
        )
    if workers > shards:
        yield f"{shards} shards keep {shards} workers busy, {workers - shards} of {workers} have nothing to do"
    if worker_seconds is not None and worker_seconds / workers > _LONG_SECONDS:
        yield (
            f"computing takes more than 30 days on {workers} worker(s); {math.ceil(worker_seconds / _LONG_SECONDS)} "
            "would be done by then"
        )
