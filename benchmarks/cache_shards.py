"""Part "shards": opening, planning and listing stores of up to a million shards.

The stores are simulated: index pages and a manifest with random hashes, a folder of empty commit records, no data.
Every figure is of an interpreter of its own, its memory above what importing the store takes.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cache_data import Scale, spec_of
from benchmarks.cache_process import call, peak_bytes
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import REPEATS, progress, table
from storage import (
    Manifest,
    ObjectEntry,
    StateStatistics,
    TrajectorySpec,
    digest,
    missing_shards,
    open_store,
    store_uri,
)
from storage.layouts.table import layout_of
from storage.reading.assignment import epoch_windows
from storage.records.commits import commit_uri
from storage.records.identity import announce
from storage.records.manifest import write_manifest
from storage.records.shard_index import write_index

WINDOW = 4
LEFT_OUT = 10
LINKS = 50_000
_OPENED = "open the store"
_PLANNED = "plan an epoch"
_LISTED = "list missing shards, store growing"
SMALL_CONSTANT = 1.5
"""Ten times the shards may take up to 15 times as long."""


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    found: dict[int, dict[str, list[dict[str, float]]]] = {}
    for shards in scale.simulated_shards:
        progress(f"  simulating {shards} shards")
        root = folder / f"simulated-{shards}"
        call(simulate, str(root), shards)
        found[shards] = {name: [] for name in OPERATIONS}
        for repeat in range(REPEATS):
            for name, costs in found[shards].items():
                costs.append(call(cost, name, str(root), shards))
                seconds, size = costs[-1]["seconds"], costs[-1]["bytes"]
                progress(f"  {repeat + 1}/{REPEATS} {name}: {seconds:.3g} s, {size / 1e6:.1f} MB")
        shutil.rmtree(root)
    return Section(title="A million shards", text=_text(found), goals=_goals(found))


def simulate(root: str, shards: int) -> None:
    """A sealed store with so many shards and no data, and one that grows, with records of all shards but ten."""
    sealed, growing = _specs()
    uri, layout = store_uri(root, sealed), layout_of(sealed)
    templates = layout.templates(sealed)
    index = write_index(uri, templates, _rows(templates, layout.object_bytes(sealed), shards))
    unknown = StateStatistics(mean=0.0, std=1.0, min=-1.0, max=1.0, max_error=0.0, rms_error=0.0, rms_detail=0.0)
    write_manifest(
        uri,
        Manifest(
            spec=sealed,
            digest=digest(sealed),
            num_samples=shards * sealed.shard_samples,
            shards=index,
            metadata=(),
            statistics=dict.fromkeys(sealed.timesteps, unknown),
            elapsed_seconds=0.0,
            writer="simulated",
            revisions=("simulated",),
            author="simulated",
            created="2026-01-01T00:00:00+00:00",
            sealed="2026-01-01T00:00:00+00:00",
        ),
    )
    uri = store_uri(root, growing)
    announce(uri, growing)
    _write_empty_records(Path(commit_uri(uri, 0)).parent, set(range(shards)) - _left_out(shards))


def _write_empty_records(folder: Path, shards: Iterable[int]) -> None:
    """Files without content; links to a few, as making a million files would take longer than all else."""
    folder.mkdir()
    for position, shard in enumerate(shards):
        path = folder / f"{shard:06d}.json"
        if position % LINKS == 0:
            linked = path
            path.touch()
        else:
            path.hardlink_to(linked)


def cost(name: str, root: str, shards: int) -> dict[str, float]:
    """Seconds of one operation, and bytes of memory beyond those of the interpreter with the store imported."""
    operation = OPERATIONS[name](root, shards)
    before = peak_bytes()
    began = time.perf_counter()
    operation()
    return {"seconds": time.perf_counter() - began, "bytes": peak_bytes() - before}


def _open(root: str, shards: int) -> Callable[[], Any]:
    return lambda: open_store(store_uri(root, _specs()[0]))


def _look_up(root: str, shards: int) -> Callable[[], Any]:
    index = _open(root, shards)().manifest.shards
    shard = random.randrange(shards)
    return lambda: index.entries(shard)


def _plan(root: str, shards: int) -> Callable[[], Any]:
    size = _specs()[0].shard_samples

    def plan() -> None:
        windows = epoch_windows(shards * size, size, seed=0, epoch=0, rank=0, world_size=1, window=WINDOW)
        assert sum(len(pieces) for pieces in windows) == shards

    return plan


def _list_sealed(root: str, shards: int) -> Callable[[], Any]:
    return lambda: _require(_missing(root, _specs()[0], shards), [])


def _list_growing(root: str, shards: int) -> Callable[[], Any]:
    return lambda: _require(_missing(root, _specs()[1], shards), sorted(_left_out(shards)))


OPERATIONS = {
    _OPENED: _open,
    "look up one shard's objects": _look_up,
    _PLANNED: _plan,
    "list missing shards, store sealed": _list_sealed,
    _LISTED: _list_growing,
}


def _specs() -> tuple[TrajectorySpec, TrajectorySpec]:
    """Of the sealed store and of the growing one."""
    spec = spec_of("zarr", 4096)
    return spec, replace(spec, base_seed=1)


def _rows(templates: Sequence[str], sizes: Sequence[int], shards: int) -> Iterator[tuple[list[ObjectEntry], None]]:
    generator = random.Random(0)
    for shard in range(shards):
        yield (
            [
                ObjectEntry(key=template.format(shard=shard), size=size, sha256=f"{generator.getrandbits(256):064x}")
                for template, size in zip(templates, sizes, strict=True)
            ],
            None,
        )


def _left_out(shards: int) -> set[int]:
    return set(range(shards // (2 * LEFT_OUT), shards, max(1, shards // LEFT_OUT)))


def _missing(root: str, spec: TrajectorySpec, shards: int) -> list[int]:
    return missing_shards(root, spec, shards * spec.shard_samples)


def _require(found: list[int], expected: list[int]) -> None:
    assert found == expected


def _of(costs: Sequence[dict[str, float]], figure: str) -> float:
    return median(one[figure] for one in costs)


def _text(found: dict[int, dict[str, list[dict[str, float]]]]) -> str:
    most = max(found)
    rows = []
    for name in OPERATIONS:
        cells = [
            f"{_of(costs[name], 'seconds'):.2g} s, {_of(costs[name], 'bytes') / 1e6:.1f} MB" for costs in found.values()
        ]
        each = _of(found[most][name], "seconds") / most
        rows.append([name, *cells, f"{1e6 * each:.2g} µs, {_of(found[most][name], 'bytes') / most:.0f} B"])
    header = ["operation", *(f"{shards} shards" for shards in found), f"per shard of {most}"]
    return (
        "Simulated stores on local disk, five objects per shard: index pages and a manifest with random hashes, and "
        "a growing store with empty commit records of all shards but ten. Each operation ran three times per store, "
        "each time in a new interpreter. Figures are seconds, and the peak of resident memory less that of the "
        f"interpreter with the store imported.\n\n{table(header, rows)}\n\n"
        "Opening a sealed store, looking up a shard and listing its missing shards depend on the number of shards only "
        "through the manifest's list of pages, one per 4096 shards."
    )


def _goals(found: dict[int, dict[str, list[dict[str, float]]]]) -> list[Goal]:
    *_, many, most = sorted(found)
    opened = found[many][_OPENED]
    seconds, size = _of(opened, "seconds"), _of(opened, "bytes")
    goals = [
        Goal(
            what=f"opening a store of {many} shards",
            to_reach="below 2 s and 200 MB",
            measured=f"{seconds:.2g} s, {size / 1e6:.1f} MB",
            reached=seconds < 2 and size < 200e6,
            headline=True,
        )
    ]
    for name in OPERATIONS:
        large, small = found[most][name], found[many][name]
        growth = {figure: _of(large, figure) / max(_of(small, figure), 1e-9) for figure in _FLOORS}
        limit = SMALL_CONSTANT * most / many
        within = [growth[figure] <= limit or _of(large, figure) <= floor for figure, floor in _FLOORS.items()]
        goals.append(
            Goal(
                what=f"{name}: {most} shards against {many}",
                to_reach="linear or less",
                measured=f"{growth['seconds']:.1f}x the time, {growth['bytes']:.1f}x the memory",
                reached=all(within),
            )
        )
    return goals


_FLOORS = {"seconds": 0.1, "bytes": 10e6}
"""Below these, growth is noise."""
