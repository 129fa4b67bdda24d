"""Part "loading": our loader beside numpy, zarr, webdataset and litdata, on the same samples and one core."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.cache_data import LAYOUTS, SHARDS, Scale, array_files, filled_store, object_uris
from benchmarks.cache_litdata import litdata_speed, optimize
from benchmarks.cache_process import call
from benchmarks.cache_readers import arrays_speed, first_epoch_speed, later_epochs_speed, tars_speed, zarr_speed
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import Runs, figures, interleaved, ratios, spread, table

_NUMPY, _KEPT, _ZARR, _TARS, _LITDATA = "np.load", "np.load, kept", "bare zarr", "bare webdataset", "litdata"
_READS = {
    _NUMPY: "5 files, each read whole and let go",
    _KEPT: "5 files, read whole, all kept",
    _ZARR: "blocks of 512 samples of every array, in order",
    _TARS: "sample by sample, in order",
    _LITDATA: "batches of 64, shuffled",
    "zarr, first epoch": "batches of 64, shuffled; the sha256 of every object is checked",
    "zarr": "batches of 64, shuffled; the crc32c of every object is checked",
    "webdataset, first epoch": "batches of 64, shuffled; the sha256 of every object is checked",
    "webdataset": "batches of 64, shuffled; the crc32c of every object is checked",
}


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    files = array_files(folder, scale.samples)
    uris = {layout: filled_store(folder, layout, scale.samples) for layout in LAYOUTS}
    chunks = litdata_chunks(folder, scale)
    runs = _measure(files, uris, chunks, scale.samples // SHARDS)
    rows = [
        [
            f"our loader, {case}" if case.startswith(LAYOUTS) else case,
            reads,
            spread(figures(runs, case), ".0f"),
            spread(ratios(runs, case, _NUMPY)),
            spread(ratios(runs, case, _TARS), ".1f"),
        ]
        for case, reads in _READS.items()
    ]
    header = ["reader", "reads", "MB/s", "times np.load", "times bare webdataset"]
    text = (
        f"{scale.samples} samples of 5 states 3x32x32 in float16 ({scale.samples * 30720 / 1e6:.0f} MB) in {SHARDS} "
        "shards, all timesteps. Each figure comes from a new process that has one core for everything. Our loader runs "
        "with its defaults: windows of 4 shards, one window read ahead, two reading threads, no cache. Bare webdataset "
        "is `WebDataset(tars, shardshuffle=False).decode()` on the same tars. litdata is `optimize()` of the same "
        "samples in chunks of a shard's size, then the second epoch of `StreamingDataset(shuffle=True)` in a "
        "`StreamingDataLoader` without workers.\n\n"
        f"{table(header, rows)}\n\n"
        "Our first epoch is bounded by sha256, which one core computes at about 1.5 GB/s, and by the first touch of "
        "memory. Later epochs read every byte of a window once and gather batches from it. `np.load` is fastest when "
        "each array is freed, because the next one reuses its memory."
    )
    return Section(title="Loading from local disk", text=text, goals=_goals(runs))


def litdata_chunks(folder: Path, scale: Scale) -> str:
    """The folder of the samples as litdata keeps them, made now if it is not there."""
    output = folder / "litdata"
    if not output.exists():
        call(optimize, array_files(folder, scale.samples), str(output), scale.samples, scale.samples // SHARDS)
    return str(output)


def _measure(files: list[str], uris: dict[str, str], chunks: str, block: int) -> Runs:
    tars = object_uris(uris["webdataset"], data_only=True)
    cases: dict[str, Callable[[], float]] = {
        _NUMPY: partial(call, arrays_speed, files, False, cores=1),
        _KEPT: partial(call, arrays_speed, files, True, cores=1),
        _ZARR: partial(call, zarr_speed, uris["zarr"], block, cores=1),
        _TARS: partial(call, tars_speed, tars, cores=1),
        _LITDATA: partial(call, litdata_speed, chunks, cores=1),
    }
    for layout, uri in uris.items():
        cases[f"{layout}, first epoch"] = partial(call, first_epoch_speed, uri, {}, cores=1)
        cases[layout] = partial(call, later_epochs_speed, uri, {}, cores=1)
    return interleaved(cases)


def _goals(runs: Runs) -> list[Goal]:
    speed, first = median(figures(runs, "zarr")), median(figures(runs, "zarr, first epoch"))
    over_tars, over_numpy = ratios(runs, "zarr", _TARS), ratios(runs, "zarr", _NUMPY)
    tars_over_tars = ratios(runs, "webdataset", _TARS)
    return [
        Goal(
            what="Zarr loader, shuffled batches of 64, one core",
            to_reach="1000 MB/s or more",
            measured=f"{speed:.0f} MB/s; {first:.0f} in the first epoch, which checks every sha256",
            reached=speed >= 1000,
            headline=True,
        ),
        Goal(
            what="Zarr loader against sample-wise webdataset",
            to_reach="25x or more",
            measured=f"{spread(over_tars, '.1f')}x",
            reached=median(over_tars) >= 25,
            headline=True,
        ),
        Goal(
            what="Zarr loader against `np.load` of whole files",
            to_reach="0.25x or more",
            measured=f"{spread(over_numpy)}x; {median(ratios(runs, 'zarr', _KEPT)):.2f}x where all arrays are kept",
            reached=median(over_numpy) >= 0.25,
            headline=True,
        ),
        Goal(
            what="WebDataset loader against sample-wise webdataset, same tars",
            to_reach="5x or more",
            measured=f"{spread(tars_over_tars, '.1f')}x",
            reached=median(tars_over_tars) >= 5,
            headline=True,
        ),
    ]
