"""Part "s3": reading from a real S3 server on loopback, cold, and out of the caches afterwards."""

import shutil
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import s3fs

from benchmarks.cache_data import BATCH, LAYOUTS, Scale, filled_store, object_uris
from benchmarks.cache_process import call
from benchmarks.cache_readers import drained
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import Runs, figures, interleaved, megabytes_per_second, ratios, spread, table
from storage import TrajectoryLoader, join, list_prefix, open_store, read_bytes, write_bytes
from tests.s3_server import serve_s3

THREADS = (2, 4, 8)
_CAT = "bare s3fs.cat"


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    sources = {layout: filled_store(folder, layout, scale.samples) for layout in LAYOUTS}
    with serve_s3(folder / "s3") as server:
        bucket = server.make_bucket()
        environment = server.environment()
        uris = {layout: join(bucket, layout) for layout in LAYOUTS}
        call(upload, sources, uris, environment=environment)
        found = {
            layout: call(measure, uri, str(folder / "cache"), server.endpoint, environment=environment)
            for layout, uri in uris.items()
        }
    shutil.rmtree(folder / "s3")
    cases = list(found["zarr"][0])
    rows = [
        [case, *(text for runs in found.values() for text in (_speed(runs, case), spread(ratios(runs, case, _CAT))))]
        for case in cases
    ]
    header = ["reader", "zarr, MB/s", "times s3fs.cat", "webdataset, MB/s", "times s3fs.cat"]
    text = (
        "`rclone serve s3` on loopback shares two cores with its client. `s3fs.cat` fetches all data objects in one "
        "call, with as many concurrent requests as it likes, and drops them; our loader also checks every sha256 and "
        "gathers shuffled batches. Windows have 4 shards, and one is read ahead. A cold epoch has no cache. One epoch "
        "of a loader fills a cache and the next epoch of the same loader reads it.\n\n"
        f"{table(header, rows)}"
    )
    return Section(title="Loading from S3", text=text, goals=[_goal(layout, runs) for layout, runs in found.items()])


def upload(sources: dict[str, str], uris: dict[str, str]) -> None:
    """Copies whole stores to where they are read."""
    for layout, source in sources.items():
        for key in list_prefix(source):
            write_bytes(join(uris[layout], key), read_bytes(join(source, key)))


def measure(uri: str, cache_folder: str, endpoint: str) -> list[dict[str, float]]:
    """MB/s of every reader of one store."""
    settings = {"response_checksum_validation": "when_required", "request_checksum_calculation": "when_required"}
    bare = s3fs.S3FileSystem(endpoint_url=endpoint, config_kwargs=settings, use_listings_cache=False)
    objects = object_uris(uri, data_only=True)
    manifest = open_store(uri).manifest
    states = manifest.num_samples * manifest.spec.trajectory_bytes

    def cat() -> int:
        bare.cat(objects)
        return states

    cat()
    cases: dict[str, Any] = {_CAT: lambda: megabytes_per_second(cat)}
    for threads in THREADS:
        cases[f"threads {threads}"] = partial(_cold, uri, threads)
    for cache in ("disk", "memory"):
        epochs = _CachedEpochs(uri, cache, cache_folder)
        cases[f"{cache} cache, being filled"] = epochs.filling
        cases[f"{cache} cache"] = epochs.cached
    return interleaved(cases)


def _cold(uri: str, threads: int) -> float:
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=0, threads=threads)
    return megabytes_per_second(lambda: drained(loader.epoch(0)))


class _CachedEpochs:
    """The epoch of a new loader that fills an empty cache, and the one after it."""

    def __init__(self, uri: str, cache: str, folder: str) -> None:
        self._uri, self._cache, self._folder = uri, cache, folder
        self._loader: TrajectoryLoader | None = None

    def filling(self) -> float:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._loader = loader = TrajectoryLoader(
            self._uri, batch_size=BATCH, seed=0, threads=4, cache=self._cache, cache_folder=self._folder
        )
        return megabytes_per_second(lambda: drained(loader.epoch(0)))

    def cached(self) -> float:
        loader, self._loader = self._loader, None
        assert loader is not None
        return megabytes_per_second(lambda: drained(loader.epoch(1)))


def _speed(runs: Runs, case: str) -> str:
    return f"{median(figures(runs, case)):.0f}"


def _goal(layout: str, runs: Runs) -> Goal:
    best = max((f"threads {threads}" for threads in THREADS), key=lambda case: median(ratios(runs, case, _CAT)))
    found = ratios(runs, best, _CAT)
    return Goal(
        what=f"{layout} loader from S3, cold, against a bare `s3fs.cat` of the same objects",
        to_reach="0.7x or more",
        measured=f"{spread(found)}x with {best.removeprefix('threads ')} threads",
        reached=median(found) >= 0.7,
        headline=layout == "zarr",
    )
