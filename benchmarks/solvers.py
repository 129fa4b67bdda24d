"""`make bench-solvers`: which solver, and how many of its steps, for a cache of states.

A student learns states, not only clean images. So every solver's captured states, those that the presets would capture,
are paired with the states of a fine solution from the same noise: DDIM with one step per training timestep.
"""

import argparse
import statistics

import torch
from torch import Tensor

from advkd.diffusion import CLEAN, Start, spread_captures
from advkd.teachers import SolverSpec, Teacher, load_teacher
from benchmarks.measure import progress, spread, table, write
from storage.records.seeding import initial_noise

CAPTURES, SHRINK = 4, 0.5
CANDIDATES = tuple(
    [("ddim", steps) for steps in (8, 10, 20, 25, 50, 100)]
    + [(kind, steps) for kind in ("unipc", "dpmpp") for steps in (6, 8, 10, 12, 16, 20, 25)]
)
BATCH = 64


def main() -> None:
    options = _options()
    teacher = load_teacher(options.teacher)
    solvers = [SolverSpec(kind=kind, steps=steps) for kind, steps in CANDIDATES if _exists(teacher, kind, steps)]
    captured = {solver: spread_captures(teacher.grid(solver).labels, CAPTURES, SHRINK) for solver in solvers}
    errors: dict[SolverSpec, list[list[float]]] = {solver: [] for solver in solvers}
    for seed in range(options.repeats):
        progress(f"noises {seed + 1} of {options.repeats}: the fine solution")
        noise = torch.from_numpy(initial_noise(seed, 0, options.noises, teacher.space.shape))
        everywhere = sorted({label for labels in captured.values() for label in labels}, reverse=True)
        fine = dict(zip(everywhere, _states(teacher, SolverSpec(steps=1000), everywhere, noise), strict=True))
        for solver, labels in captured.items():
            states = _states(teacher, solver, labels, noise)
            errors[solver].append([_rmse(mine, fine[t]) for mine, t in zip(states, labels, strict=True)][1:])
    rows = []
    for solver, runs in errors.items():
        mean = spread((statistics.fmean(run) for run in runs), ".4f")
        clean = spread((run[-1] for run in runs), ".4f")
        worst = spread((max(run[:-1]) for run in runs), ".4f")
        rows.append([solver.kind, str(solver.steps), mean, worst, clean])
    text = (
        f"# Solvers\n\n`make bench-solvers` pairs the states that the presets would capture (K = {CAPTURES}, shrink "
        f"{SHRINK}) of teacher `{teacher.name}` with those of a fine solution, DDIM with 1000 steps, from the same "
        f"{options.noises} noises. RMSE, medians over {options.repeats} sets of noises, the lowest and the highest in "
        "brackets; passes are the solver's steps.\n\n"
        + table(["solver", "steps", "RMSE, mean over captured states", "worst inner state", "clean state"], rows)
    )
    if options.write:
        write("solvers", text)
    else:
        print(text)


def _exists(teacher: Teacher, kind: str, steps: int) -> bool:
    try:
        teacher.grid(SolverSpec(kind=kind, steps=steps))
    except ValueError:
        return False
    return True


def _states(teacher: Teacher, solver: SolverSpec, labels: tuple[int, ...] | list[int], noise: Tensor) -> list[Tensor]:
    assert labels[-1] == CLEAN
    batches = [list(teacher.states(Start(part), solver, tuple(labels))) for part in noise.split(BATCH)]
    return [torch.cat(states) for states in zip(*batches, strict=True)]


def _rmse(mine: Tensor, theirs: Tensor) -> float:
    return float((mine.double() - theirs.double()).square().mean().sqrt())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="digits")
    parser.add_argument("--noises", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/solvers.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
