"""`make bench-recipe`: variants of a teacher's recipe, trained from one cache for equal CPU seconds, side by side.

`python -m benchmarks.recipe --teacher SOURCE --seconds 240 --groups student grid` runs the base, which is what the
rules make of the preset `quick` for this teacher, and some groups. Training and figures are those of `make
bench-peers`: schedules run on the share of the budget, so a cheaper variant makes more steps. What was measured stays
below `--root` and is not repeated.
"""

import argparse
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advkd.evaluation.reference import SAMPLES, references_for
from advkd.features import chosen_features
from advkd.runtime.reporting import progress
from advkd.teachers import load_teacher
from advkd.trajectories import precompute
from benchmarks.cache_process import call
from benchmarks.measure import DOCS, table, write_section
from benchmarks.measure import progress as say
from benchmarks.peers.measured import train_and_measure
from benchmarks.peers.protocol import Problem, cache_spec, check_problem
from benchmarks.peers.table import BASE as OURS
from benchmarks.recipe_variants import BASE, GROUPS, Variant
from storage.objects.access import write_json

HEADER = (
    "variant",
    "worth",
    "FD",
    "recall",
    "coverage",
    "parameters",
    "of the teacher's",
    "of a pass",
    "latency, batch 1",
    "batch 64",
    "steps",
    "seeds",
)
Runs = Mapping[str, Sequence[Mapping[str, float]]]


def main() -> None:
    options = _options()
    root, teacher = Path(options.root), load_teacher(options.teacher)
    extractor = chosen_features(options.features, teacher)[0]
    with progress() as report:
        store = precompute(
            cache_spec(options.teacher, str(root / "stores"), options.trajectories),
            lambda done, total: report("trajectories", done, total),
            options.workers,
        )
    problem = Problem(teacher=teacher, store=store.uri, seconds=options.seconds)
    check_problem(problem)
    references_for(teacher, [extractor], root=str(root), samples=options.evaluation_samples)
    runs = _measured(problem, options, root)
    text = f"## {teacher.name}\n\n{_protocol(problem, extractor.name, options)}\n\n" + "\n\n".join(
        _group(name, runs) for name in options.groups
    )
    print(text)
    if options.write:
        write_section(
            DOCS / "benchmarks" / "recipe.md", teacher.name, text, "# Variants of the recipe\n\n`make bench-recipe`."
        )


def _measured(problem: Problem, options: argparse.Namespace, root: Path) -> dict[str, list[dict[str, float]]]:
    """The runs of every variant; the first seeds of all come first, what is in two groups once."""
    variants = {variant.name: variant for variant in (BASE, *(v for name in options.groups for v in GROUPS[name]))}
    asked = [(variant, seed) for seed in range(options.seeds) for variant in variants.values()]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with ThreadPoolExecutor(options.workers) as pool:
        waiting = {pool.submit(_run, _task(problem, variant, seed, options), root): variant for variant, seed in asked}
        for done, future in enumerate(as_completed(waiting), 1):
            name, figures = waiting[future].name, future.result()
            runs[name].append(figures)
            say(
                f"{done}/{len(asked)} {name}: worth {figures['worth']:.2f}, FD {figures['fd']:.2f}, recall "
                f"{figures.get('recall', 0.0):.3f}, {figures['steps']:.0f} steps, {figures['params'] / 1000:.0f} k"
            )
    return runs


def _task(problem: Problem, variant: Variant, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "peer": OURS,
        "teacher": options.teacher,
        "fingerprint": problem.teacher.fingerprint,
        "store": problem.store,
        "recipe": asdict(variant.change(problem.recipe, problem.facts)),
        "seconds": options.seconds,
        "seed": seed,
        "features": options.features,
        "evaluation_samples": options.evaluation_samples,
        "evaluation_seeds": options.evaluation_seeds,
    }


def _run(task: dict[str, Any], root: Path) -> dict[str, float]:
    kept = root / "runs" / f"{hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text())["figures"])
    pictures = str(kept.with_suffix(".npy"))
    figures = call(train_and_measure, task, str(root), pictures, environment={"OMP_NUM_THREADS": "1"})
    write_json(str(kept), {"task": task, "figures": figures})
    return dict(figures)


def _group(name: str, runs: Runs) -> str:
    rows = [_row(variant.name, runs[variant.name]) for variant in (BASE, *GROUPS[name])]
    return f"### {name}\n\n{table(list(HEADER), rows)}"


def _row(name: str, runs: Sequence[Mapping[str, float]]) -> list[str]:
    def middle(figure: str) -> float:
        return statistics.median(run.get(figure, 0.0) for run in runs)

    def share(figure: str) -> str:
        whole = middle(f"teacher_{figure}")
        # A teacher in closed form has no parameters.
        return f"{middle(figure) / whole:.2f}" if whole else "-"

    worths = sorted(run["worth"] for run in runs)
    return [
        name,
        f"{middle('worth'):.1f}" + (f" ({worths[0]:.1f} to {worths[-1]:.1f})" if len(worths) > 1 else ""),
        f"{middle('fd'):.3g}",
        f"{middle('recall'):.3f}",
        f"{middle('coverage'):.3f}",
        f"{middle('params') / 1000:.0f} k",
        *(share(figure) for figure in ("params", "macs", "milliseconds_of_one", "milliseconds")),
        f"{middle('steps'):.0f}",
        str(len(runs)),
    ]


def _protocol(problem: Problem, extractor: str, options: argparse.Namespace) -> str:
    return (
        f"{options.trajectories or cache_spec(options.teacher, '').samples} trajectories of "
        f"{problem.facts.solver_steps} steps ({problem.facts.sampler}), {options.seconds:g} CPU seconds for each run, "
        f"in {problem.recipe.computed_precision}; {options.evaluation_samples} noises, features of `{extractor}`. "
        "Medians over the training seeds, worth with its range; parameters, multiply-adds and milliseconds of a "
        "student's pass over those of a teacher's."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="digits", help="embedded name, folder, URI or package.module:factory")
    parser.add_argument("--seconds", type=float, default=54.0, help="CPU seconds of training for each run")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--seeds", type=int, default=1, help="training seeds; three where it decides")
    parser.add_argument("--trajectories", type=int, help="of the cache, instead of the preset's")
    parser.add_argument("--features", default="auto", help="name of the extractor of figures")
    parser.add_argument("--evaluation-samples", type=int, default=SAMPLES)
    parser.add_argument("--evaluation-seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--root", default="runs/recipe")
    parser.add_argument("--write", action="store_true", help="write the teacher's section of docs/benchmarks/recipe.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
