"""Part "threads": what a second reading thread gives the loader on two cores."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cache_data import LAYOUTS, Scale, filled_store
from benchmarks.cache_process import call
from benchmarks.cache_readers import epochs_of
from benchmarks.cache_report import Section
from benchmarks.measure import figures, interleaved, ratios, spread, table

CORES = 2


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    uris = {layout: filled_store(folder, layout, scale.samples) for layout in LAYOUTS}
    runs = call(measure, uris, cores=CORES)
    rows = []
    for layout in LAYOUTS:
        for epoch in ("first epoch", "later epochs"):
            one, two = f"{layout}, {epoch}, 1", f"{layout}, {epoch}, 2"
            speeds = [f"{median(figures(runs, case)):.0f}" for case in (one, two)]
            rows.append([layout, epoch, *speeds, spread(ratios(runs, two, one))])
    header = ["layout", "epoch", "1 thread, MB/s", "2 threads, MB/s", "2 threads over 1"]
    text = (
        "Two cores. `threads` are those that read shards; the caller's own thread gathers the batches beside them, so "
        "that one reading thread uses more than one core already. Hashing, checksums and copies release the "
        f"interpreter's lock.\n\n{table(header, rows)}"
    )
    return Section(title="One and two reading threads", text=text)


def measure(uris: dict[str, str]) -> list[dict[str, float]]:
    """MB/s of first and later epochs."""
    cases: dict[str, Any] = {}
    for layout, uri in uris.items():
        for threads in (1, 2):
            epochs = epochs_of(uri, threads=threads)
            cases[f"{layout}, first epoch, {threads}"] = epochs.first
            cases[f"{layout}, later epochs, {threads}"] = epochs.later
    return interleaved(cases)
