"""Part "threads": what a second reading thread gives the loader on two cores."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.cache_data import LAYOUTS, Scale, filled_store
from benchmarks.cache_process import call
from benchmarks.cache_readers import first_epoch_speed, later_epochs_speed
from benchmarks.cache_report import Section
from benchmarks.measure import Runs, figures, interleaved, ratios, spread, table

CORES = 2
EPOCHS = {"first epoch": first_epoch_speed, "later epochs": later_epochs_speed}


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    uris = {layout: filled_store(folder, layout, scale.samples) for layout in LAYOUTS}
    runs = _measure(uris)
    rows = []
    for layout in LAYOUTS:
        for epoch in EPOCHS:
            one, two = f"{layout}, {epoch}, 1", f"{layout}, {epoch}, 2"
            speeds = [f"{median(figures(runs, case)):.0f}" for case in (one, two)]
            rows.append([layout, epoch, *speeds, spread(ratios(runs, two, one))])
    header = ["layout", "epoch", "1 thread, MB/s", "2 threads, MB/s", "2 threads over 1"]
    text = (
        "On two cores. The `threads` read shards, while the caller's own thread gathers the batches; so one reading "
        "thread already uses more than one core. Hashing, checksums and copies release the interpreter's lock.\n\n"
        f"{table(header, rows)}"
    )
    return Section(title="One and two reading threads", text=text)


def _measure(uris: dict[str, str]) -> Runs:
    cases: dict[str, Callable[[], float]] = {}
    for layout, uri in uris.items():
        for threads in (1, 2):
            for epoch, speed in EPOCHS.items():
                cases[f"{layout}, {epoch}, {threads}"] = partial(call, speed, uri, {"threads": threads}, cores=CORES)
    return interleaved(cases)
