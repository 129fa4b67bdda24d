"""Part "training": how long a real training run waits for its data."""

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

from advkd.presets import preset
from advkd.training.loop import train
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.trajectories import precompute
from benchmarks.cache_data import Scale
from benchmarks.cache_process import call
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import REPEATS, figures, progress, spread, table

REPORT_STEPS = 20


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    runs = call(measure, str(folder), scale.training_steps, scale.training_samples)
    waited = figures(runs, "waited")
    rows = [
        [
            f"{1000 * median(figures(runs, 'data')):.2f} ms",
            f"{1000 * median(figures(runs, 'step')):.1f} ms",
            spread(waited, ".2%"),
            spread(figures(runs, "with the start"), ".2%"),
        ]
    ]
    header = ["next batch, as tensors", "whole step", "share", "share with the first steps"]
    text = (
        f"The `quick` student, batches of 64, {scale.training_steps} steps of the real loop on a store of "
        f"{scale.training_samples} samples of 5 states 1x16x16 from the closed-form teacher, one torch thread, in the "
        "precision that the machine computes in. The time for data is that of `next(batches)` and of the conversion to "
        f"tensors. The first {REPORT_STEPS} steps read the first window and warm torch up; only the last column "
        f"includes them.\n\n{table(header, rows)}"
    )
    goal = Goal(
        what="trainer waiting for data, share of a step",
        to_reach="below 2 %",
        measured=spread(waited, ".2%"),
        reached=median(waited) < 0.02,
        headline=True,
    )
    return Section(title="A trainer's wait for data", text=text, goals=[goal])


def measure(folder: str, steps: int, samples: int) -> list[dict[str, float]]:
    """Seconds per step, and the share of them that is spent on data."""
    quick = preset("quick")
    store = precompute(
        replace(quick.precompute, teacher="mixture", store=str(Path(folder) / "training"), samples=samples)
    )
    spec = quick.train
    runs = []
    for repeat in range(REPEATS):
        data, step = _seconds(spec, store.uri, steps, REPORT_STEPS)
        runs.append(
            {
                "data": fmean(data[1:]),
                "step": fmean(step[1:]),
                "waited": sum(data[1:]) / sum(step[1:]),
                "with the start": sum(data) / sum(step),
            }
        )
        progress(f"  {repeat + 1}/{REPEATS} waited {runs[-1]['waited']:.2%} of {runs[-1]['step']:.3f} s")
    return runs


def _seconds(spec: TrainSpec, store: str, steps: int, report_every: int) -> tuple[list[float], list[float]]:
    """Seconds per step for data and in all, from each report of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = replace(spec, samples=steps * spec.batch_size, report_every=report_every)
        reports = list(train(run, store, Path(folder) / "student"))
    return [report.data_seconds for report in reports], [report.step_seconds for report in reports]
