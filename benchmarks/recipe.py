"""`make bench-recipe`: variants of the recipe, trained from one cache for an equal budget, side by side.

`python -m benchmarks.recipe --steps 2400 --groups student grid` runs the base and some groups with another budget: the
CPU time of so many steps of the base. Each variant gets as many as its own take of it, by a ratio probed in its own
process, so a busy machine does not change who wins. What was measured stays in `runs/recipe/` and is not repeated.
"""

import argparse
import hashlib
import json
import os
import statistics
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from advkd.runtime.reporting import progress
from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec, precompute
from benchmarks.cache_process import call
from benchmarks.measure import progress as say
from benchmarks.measure import table, write
from benchmarks.recipe_run import train_and_evaluate
from benchmarks.recipe_variants import BASE, GROUPS, SEEDS, Variant
from storage.objects.access import write_json

CACHE = PrecomputeSpec(teacher="digits", samples=16384, solver=SolverSpec(steps=50), captures=50, shard_samples=1024)
"""All 50 states, so that every grid of 50 steps can be trained from it."""
FIGURES = ("worth", "fd", "fd_real", "recall", "params", "macs", "steps", "steps_per_second")


def main() -> None:
    options = _options()
    root = Path(options.root)
    with progress() as report:
        asked = replace(CACHE, samples=options.trajectories)
        store = precompute(asked, lambda done, total: report("trajectories", done, total), os.cpu_count() or 1).uri
    runs = _runs(options)
    found: dict[str, list[dict[str, float]]] = {}
    with ThreadPoolExecutor(options.workers) as pool:
        waiting = {pool.submit(_measured, root, store, *run, options): run for run in runs}
        for done, future in enumerate(as_completed(waiting), 1):
            variant, seed = waiting[future]
            found.setdefault(variant.name, []).append(future.result())
            say(f"{done}/{len(runs)} {variant.name}, seed {seed}: {_line(found[variant.name][-1])}")
    text = "\n\n".join(_section(name, GROUPS[name], found) for name in options.groups)
    print(text)
    if options.write:
        write("recipe", f"# Variants of the recipe\n\n{_protocol(options)}\n\n{text}")


def _runs(options: argparse.Namespace) -> list[tuple[Variant, int]]:
    """The base first, and what is in two groups once."""
    asked = {name: options.seeds or SEEDS.get(name, 1) for name in options.groups}
    chosen = {(BASE.name, seed): BASE for seed in range(max(asked.values()))}
    for name, seeds in asked.items():
        chosen |= {(variant.name, seed): variant for seed in range(seeds) for variant in GROUPS[name]}
    return [(variant, seed) for (_, seed), variant in chosen.items()]


def _measured(root: Path, store: str, variant: Variant, seed: int, options: argparse.Namespace) -> dict[str, float]:
    task = {
        "store": store,
        **variant.facts(),
        "seed": seed,
        "steps": options.steps,
        "base": BASE.facts()["train"],
        "evaluation_samples": options.evaluation_samples,
        "evaluation_seeds": list(range(options.evaluation_seeds)),
    }
    path = root / f"{hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return dict(json.loads(path.read_text())["figures"])
    figures = call(train_and_evaluate, task, str(root), environment={"OMP_NUM_THREADS": "1"})
    write_json(str(path), {"name": variant.name, "task": task, "figures": figures})
    return dict(figures)


def _section(name: str, variants: tuple[Variant, ...], found: dict[str, list[dict[str, float]]]) -> str:
    rows = []
    for variant in (BASE, *variants):
        runs = found.get(variant.name, [])
        if runs:
            middle = {figure: statistics.median(run[figure] for run in runs) for figure in FIGURES}
            worths = sorted(run["worth"] for run in runs)
            rows.append(
                [
                    variant.name,
                    f"{middle['worth']:.1f} ({worths[0]:.1f} to {worths[-1]:.1f})",
                    f"{middle['fd']:.2f}",
                    f"{middle['fd_real']:.1f}",
                    f"{middle['recall']:.3f}",
                    f"{middle['params'] / 1000:.0f} k",
                    f"{middle['macs'] / 1e6:.1f} M",
                    f"{middle['steps_per_second']:.1f}",
                    f"{middle['steps']:.0f}",
                    str(len(runs)),
                ]
            )
    header = ["variant", "worth", "FD to the target", "FD to real", "recall", "parameters", "multiply-adds", "steps/s"]
    return f"## {name}\n\n{table([*header, 'steps', 'seeds'], rows)}"


def _line(figures: dict[str, float]) -> str:
    return (
        f"worth {figures['worth']:.2f}, FD {figures['fd']:.2f}, recall {figures['recall']:.3f}, "
        f"{figures['params'] / 1000:.0f} k, {figures['steps']:.0f} steps, {figures['steps_per_second']:.1f}/s"
    )


def _protocol(options: argparse.Namespace) -> str:
    return (
        f"`make bench-recipe`: teacher `digits`, {options.trajectories} trajectories of {CACHE.solver.steps} DDIM "
        f"steps, for each run the CPU time of {options.steps} steps of the base in one thread; "
        "medians over the training seeds, worth with its range. Evaluated on "
        f"{options.evaluation_samples} noises, the same for teacher and student, means of {options.evaluation_seeds} "
        "evaluation seed(s)."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200, help="budget of a run: the time of so many of the base")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--seeds", type=int, help="training seeds; else as many as the group needs")
    parser.add_argument("--evaluation-samples", type=int, default=5000)
    parser.add_argument("--evaluation-seeds", type=int, default=3)
    parser.add_argument("--trajectories", type=int, default=CACHE.samples, help="of the cache")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--root", default="runs/recipe")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/recipe.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
