"""`make bench-solvers`: which solver, and how many of its steps, for a cache of states.

A student learns states, not only clean images. So every solver's captured states, those that the presets would capture,
are paired with the states of a fine solution from the same noise: DDIM with one step per training timestep. Solvers
with Karras spacing, which are not offered, are measured too: their noise levels lie between the training's, where the
fine solution is interpolated (x / a over s / a).
"""

import argparse
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from advkd.diffusion import CLEAN, Start, TimeGrid, spread_captures
from advkd.teachers import SOLVERS, Solver, SolverSpec, Teacher, load_teacher
from advkd.teachers.schedulers import Scheduler, rebuilt
from benchmarks.measure import progress, spread, table, write
from storage.records.seeding import initial_noise

CAPTURES, SHRINK = 4, 0.5
CANDIDATES = tuple(
    [("ddim", steps) for steps in (8, 10, 20, 25, 50, 100)]
    + [(kind, steps) for kind in ("unipc", "dpmpp") for steps in (5, 6, 8, 10, 12, 16, 20, 25)]
    + [("heun", passes) for passes in (7, 9, 11, 19, 25, 49)]
    + [(f"{kind}, Karras", steps) for kind in ("unipc", "dpmpp") for steps in (5, 8, 10, 20)]
)
# Heun's passes, an odd number, and the nearest number of the others.
ALIKE = {11: 10, 19: 20, 25: 25, 49: 50}
BATCH = 64
KARRAS: dict[str, tuple[type, dict[str, Any]]] = {
    "unipc": (UniPCMultistepScheduler, {"solver_order": 3}),
    "dpmpp": (DPMSolverMultistepScheduler, {"solver_order": 2}),
}


def _karras(kind: str) -> Solver:
    scheduler, settings = KARRAS[kind]

    def build(config: Mapping[str, Any]) -> Scheduler:
        return rebuilt(scheduler, config, use_karras_sigmas=True, final_sigmas_type="zero", **settings)

    return replace(SOLVERS[kind], build=build, grid=_levels_grid)


def _levels_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """States at their real noise levels, with labels that only count."""
    scheduler.set_timesteps(steps)
    levels = scheduler.sigmas.double()
    scale = (1 + levels**2).sqrt()
    return TimeGrid(tuple(range(steps, -1, -1)), tuple((1 / scale).tolist()), tuple((levels / scale).tolist()))


def main() -> None:
    with patch.dict(SOLVERS._rows, {f"{kind}, Karras": _karras(kind) for kind in KARRAS}):
        _measure(_options())


def _measure(options: argparse.Namespace) -> None:
    teacher = load_teacher(options.teacher)
    solvers = [SolverSpec(kind=kind, steps=steps) for kind, steps in CANDIDATES if _exists(teacher, kind, steps)]
    captured = {solver: spread_captures(teacher.grid(solver).labels, CAPTURES, SHRINK) for solver in solvers}
    finest = SolverSpec(steps=1000)
    # Timestep 0 of the training has the clean state's label.
    everywhere = teacher.grid(finest).at((*range(999, 0, -1), CLEAN))
    errors: dict[SolverSpec, list[list[float]]] = {solver: [] for solver in solvers}
    for seed in range(options.repeats):
        progress(f"noises {seed + 1} of {options.repeats}: the fine solution")
        noise = torch.from_numpy(initial_noise(seed, 0, options.noises, teacher.space.shape))
        fine = _states(teacher, finest, everywhere.labels, noise)
        for solver, labels in captured.items():
            wanted = teacher.grid(solver).at(labels)
            states = _states(teacher, solver, labels, noise)
            theirs = [_between(fine, everywhere, a, s) for a, s in zip(wanted.signal, wanted.sigma, strict=True)]
            errors[solver].append([_rmse(*pair) for pair in zip(states, theirs, strict=True)][1:])
    rows, means = [], {}
    for solver, runs in errors.items():
        means[solver.kind, solver.steps] = statistics.median(statistics.fmean(run) for run in runs)
        mean = spread((statistics.fmean(run) for run in runs), ".4f")
        clean = spread((run[-1] for run in runs), ".4f")
        worst = spread((max(run[:-1]) for run in runs), ".4f")
        rows.append([solver.kind, str(solver.steps), mean, worst, clean])
    text = (
        f"# Solvers\n\n`make bench-solvers` pairs the states that the presets would capture (K = {CAPTURES}, shrink "
        f"{SHRINK}) of teacher `{teacher.name}` with those of a fine solution, DDIM with 1000 steps, from the same "
        f"{options.noises} noises. RMSE, medians over {options.repeats} sets of noises, the lowest and the highest in "
        "brackets; steps are passes of the network.\n\n"
        + table(["solver", "steps", "RMSE, mean over captured states", "worst inner state", "clean state"], rows)
        + f"\n\n{_heun(means)} {_spacing(means)}"
    )
    if options.write:
        write("solvers", text)
    else:
        print(text)


def _heun(means: Mapping[tuple[str, int], float]) -> str:
    """Says where Heun's method is nearer than others with as many passes."""

    def beaten(other: str) -> str:
        passes = [mine for mine, theirs in ALIKE.items() if (other, theirs) in means and ("heun", mine) in means]
        won = [mine for mine in passes if means["heun", mine] < means[other, ALIKE[mine]]]
        counted = ", ".join(map(str, won)) if won else "none"
        return f"nearer than {other} at {counted} of {', '.join(map(str, passes))} passes"

    return (
        f"By the mean over captured states Heun's method is {beaten('ddim')}, and {beaten('unipc')} (the others take "
        "as many passes, or one more or fewer)."
    )


def _spacing(means: Mapping[tuple[str, int], float]) -> str:
    """Says what Karras spacing does to the captured states."""
    told = []
    for kind in KARRAS:
        worse = {
            n: means[name, n] / means[kind, n] for name, n in means if name == f"{kind}, Karras" and (kind, n) in means
        }
        told.append(f"{kind} {', '.join(f'{ratio:.1f} with {steps}' for steps, ratio in worse.items())}")
    return (
        "Karras spacing (diffusers' `use_karras_sigmas`) is measured and not offered: it multiplies that error by "
        f"{'; '.join(told)} steps."
    )


def _exists(teacher: Teacher, kind: str, steps: int) -> bool:
    try:
        teacher.grid(SolverSpec(kind=kind, steps=steps))
    except ValueError:
        return False
    return True


def _states(teacher: Teacher, solver: SolverSpec, labels: Sequence[int], noise: Tensor) -> list[Tensor]:
    assert labels[-1] == CLEAN
    batches = [list(teacher.states(Start(part), solver, tuple(labels))) for part in noise.split(BATCH)]
    return [torch.cat(states) for states in zip(*batches, strict=True)]


def _between(fine: list[Tensor], grid: TimeGrid, signal: float, sigma: float) -> Tensor:
    """Returns the fine solution at any noise level."""
    # Negative, as they fall from the noise to the clean state.
    levels = [-s / a for a, s in zip(grid.signal, grid.sigma, strict=True)]
    after = min(max(1, bisect_left(levels, -sigma / signal)), len(levels) - 1)
    low, high = levels[after - 1], levels[after]
    share = min(max((-sigma / signal - low) / (high - low), 0.0), 1.0)
    before, behind = fine[after - 1] / grid.signal[after - 1], fine[after] / grid.signal[after]
    return signal * (before + share * (behind - before))


def _rmse(mine: Tensor, theirs: Tensor) -> float:
    return float((mine.double() - theirs.double()).square().mean().sqrt())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="digits")
    parser.add_argument("--noises", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/solvers.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
