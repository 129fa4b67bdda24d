"""Part "memory": what the loader holds does not grow with the store."""

import shutil
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.cache_data import BATCH, LAYOUTS, Scale, filled_store, repeated_store
from benchmarks.cache_process import call, peak_bytes
from benchmarks.cache_readers import drained
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import REPEATS, progress, spread, table
from storage import TrajectoryLoader

EPOCHS = 2
ALLOWED_GROWTH = 1.1


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    rows, goals = [], []
    for layout in LAYOUTS:
        small = filled_store(folder, layout, scale.samples)
        large = repeated_store(folder, layout, scale.samples, scale.times)
        peaks = [[call(peak, small), call(peak, large)] for _ in range(REPEATS)]
        shutil.rmtree(large)
        growth = [after / before for before, after in peaks]
        progress(f"  {layout}: {spread(growth)}")
        held = [f"{median(column) / 1e6:.0f} MB" for column in zip(*peaks, strict=True)]
        rows.append([layout, *held, spread(growth)])
        goals.append(
            Goal(
                what=f"memory of the {layout} loader on {scale.times} times the data",
                to_reach=f"{ALLOWED_GROWTH}x at most",
                measured=f"{spread(growth)}x",
                reached=median(growth) <= ALLOWED_GROWTH,
            )
        )
    size = scale.samples * 30720 / 1e6
    header = ["layout", f"store of {size:.0f} MB", f"store of {size * scale.times:.0f} MB", "growth"]
    text = (
        f"Peak of resident memory over {EPOCHS} epochs, less that of the interpreter with the loader imported; "
        "windows of 4 shards, one read ahead, no cache. The two windows in memory make up all of the smaller store.\n\n"
        f"{table(header, rows)}"
    )
    return Section(title="Memory of the loader", text=text, goals=goals)


def peak(uri: str) -> int:
    """Bytes that some epochs take at most."""
    before = peak_bytes()
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=0)
    drained(islice(loader, EPOCHS * loader.batches_per_epoch))
    return peak_bytes() - before
