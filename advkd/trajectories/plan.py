"""What a store will hold and cost, before anything is spent: pure arithmetic, nothing is loaded, read or written.

Bytes are those of the layout's objects to the byte, requests those of this package's writer and reader, failed and
repeated ones aside. Only records and index are counted but not weighed, as the records' lengths depend on statistics
that are yet to be computed: about 300 bytes per object of data, and 1 kB per shard.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advkd.trajectories.costs import Costs, Prices, Requests
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
"""What is missing: manifest.json and spec.json, neither there yet, and an empty commits/."""
_SHARD_GETS = 4
"""Before a shard is put: manifest.json and spec.json of `open_writer`, spec.json twice of `announce`."""
_SEAL = Requests(put=2, get=2)
"""manifest.json, which is not there, and spec.json; then the manifest and its copy."""
_OPEN = Requests(get=1)
"""The manifest."""


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
    """Commit records, `spec.json`, the manifest, its copy and the pages of its index."""
    precompute: Requests
    """Of one process that computes every shard; each further one, and each further run, asks what is missing too."""
    seal: Requests
    open: Requests
    epoch: Requests
    """Of one rank that reads every timestep of every sample once, without a cache."""
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
        spec: what will be computed.
        num_samples: samples that readers are to see.
        workers: processes that compute one shard each at a time.
        passes_per_second: samples that pass through the teacher's network per second in one worker.
        prices: what the provider asks, None: no costs.

    Raises:
        ValueError: a count or speed that is not positive.
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
        metadata_objects=len(metadata),
        metadata_bytes=metadata_bytes,
        records=shards + pages + 3,
        precompute=precompute,
        seal=seal,
        open=_OPEN,
        epoch=epoch,
        epoch_bytes=epoch_bytes,
        passes=computed * sample_passes,
        workers=workers,
        worker_seconds=worker_seconds,
        wall_seconds=wall_seconds,
        costs=costs,
        warnings=tuple(_warnings(spec, num_samples, sizes, workers, worker_seconds)),
    )


def _precompute_requests(shards: int, objects: int) -> Requests:
    """Finding out, then objects and record of every shard; whoever comes first puts spec.json instead of reading it."""
    return _FIND_OUT + Requests(put=objects + 1, get=_SHARD_GETS) * shards + Requests(put=1, get=-1)


def _seal_requests(shards: int, metadata: int) -> Requests:
    """Are all records there, what do they say, and what follows from them."""
    return _SEAL + Requests(put=metadata, get=shards, list=-(-shards // _KEYS_PER_LISTING))


def _page_reads(shards: int, pages: int) -> int:
    """Each page once; or, where a reader cannot hold them all, whenever a random shard's page is none of those held."""
    return pages if pages <= _HELD_PAGES else shards - shards * _HELD_PAGES // pages


def _sizes_read(spec: TrajectorySpec, sizes: Sequence[int]) -> list[int]:
    """Bytes of the objects of a shard that an epoch reads: those in which states lie."""
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
