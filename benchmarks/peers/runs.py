"""Students side by side: one cache for all, each run kept under what determines it, the options of both commands.

`benchmarks.peers` compares methods, `benchmarks.recipe` variants of ours.
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advkd.evaluation.curve import TARGET_STEPS
from advkd.evaluation.reference import SAMPLES, references_for
from advkd.features import Extractor, chosen_features
from advkd.runtime.reporting import progress
from advkd.teachers import load_teacher
from advkd.training import TrainSpec
from advkd.trajectories import precompute
from benchmarks.cache_process import call
from benchmarks.peers.measured import shortened, train_and_measure
from benchmarks.peers.protocol import Problem, cache_spec, check_problem
from storage.objects.access import write_json


def prepared(options: argparse.Namespace) -> tuple[Problem, Extractor]:
    """Fills the cache, and returns the problem and the extractor of the figures.

    Raises:
        ValueError: no extractor takes the teacher's images, or the problem does not fit (`check_problem`).
    """
    teacher = load_teacher(options.teacher)
    extractors = chosen_features(options.features, teacher)
    if not extractors:
        raise ValueError(
            f"students are compared in the features of an extractor, got none for {teacher.name!r} by --features "
            f"{options.features}; name one that takes its images"
        )
    with progress() as report:
        store = precompute(
            cache_spec(options.teacher, str(Path(options.root) / "stores"), options.trajectories, options.solver_steps),
            lambda done, total: report("trajectories", done, total),
            options.workers,
        )
    problem = Problem(teacher=teacher, store=store.uri, seconds=options.seconds)
    check_problem(problem)
    return problem, extractors[0]


def refer(problem: Problem, options: argparse.Namespace) -> None:
    """Computes the teacher's references before any run needs them, in the features of all extractors."""
    extractors = chosen_features(options.features, problem.teacher)
    curve = shortened(problem.teacher, options.target_steps, options.curve_steps)
    references_for(problem.teacher, extractors, root=options.root, curve=curve, samples=options.evaluation_samples)


def task_of(problem: Problem, peer: str, seed: int, recipe: TrainSpec, options: argparse.Namespace) -> dict[str, Any]:
    """Returns what determines a run, as plain JSON."""
    return {
        "peer": peer,
        "teacher": options.teacher,
        "fingerprint": problem.teacher.fingerprint,
        "store": problem.store,
        "recipe": asdict(recipe),
        "seconds": options.seconds,
        "seed": seed,
        "features": options.features,
        "evaluation_samples": options.evaluation_samples,
        "evaluation_seeds": options.evaluation_seeds,
        "target_steps": options.target_steps,
        "curve_steps": options.curve_steps,
        "held_out": options.held_out,
    }


def places(task: dict[str, Any], root: str) -> tuple[Path, Path]:
    """Returns the files of a run's figures and of its first images."""
    label = f"{task['peer']}-{hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:12]}"
    return Path(root) / "runs" / f"{label}.json", Path(root) / "runs" / f"{label}.npy"


def kept_run(task: dict[str, Any], root: str) -> dict[str, float]:
    """Returns the figures of a run: kept ones, or those of a process of its own."""
    kept, pictures = places(task, root)
    if kept.is_file():
        return dict(json.loads(kept.read_text())["figures"])
    figures = call(train_and_measure, task, root, str(pictures), environment={"OMP_NUM_THREADS": "1"})
    write_json(str(kept), {"task": task, "figures": figures})
    return dict(figures)


def add_options(parser: argparse.ArgumentParser, root: str, page: str, seeds: int) -> None:
    """Adds the options that both commands have.

    Args:
        parser: of a command.
        root: default folder of caches and runs.
        page: that `--write` writes.
        seeds: default number of training seeds.
    """
    parser.add_argument("--teacher", default="digits", help="embedded name, folder, URI or package.module:factory")
    parser.add_argument("--seconds", type=float, default=54.0, help="CPU seconds of training for each student")
    parser.add_argument("--seeds", type=int, default=seeds, help="training seeds; three where it decides [%(default)s]")
    parser.add_argument("--trajectories", type=int, help="of the cache, instead of the preset's")
    parser.add_argument("--solver-steps", type=int, help="of the cache's trajectories, instead of the preset's")
    parser.add_argument(
        "--features",
        default="auto",
        help="names of extractors: figures are of the first, the teacher's curve is computed for all",
    )
    parser.add_argument("--evaluation-samples", type=int, default=SAMPLES)
    parser.add_argument("--evaluation-seeds", type=int, default=1)
    parser.add_argument(
        "--target-steps",
        type=int,
        default=TARGET_STEPS,
        help="solver steps of the teacher's target, half as many end its curve",
    )
    parser.add_argument(
        "--curve-steps", type=int, help="most steps of its curve besides, for teachers whose passes are dear"
    )
    # Peers are compared by worth; `benchmarks.recipe` has the option.
    parser.set_defaults(held_out=None)
    parser.add_argument("--workers", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--root", default=root)
    parser.add_argument("--write", action="store_true", help=f"write {page}")


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Returns the options, or ends the command if one is out of range."""
    options = parser.parse_args()
    for name in (
        "seeds",
        "evaluation_samples",
        "evaluation_seeds",
        "target_steps",
        "curve_steps",
        "held_out",
        "solver_steps",
        "workers",
    ):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}; use 1 or more")
    if not options.seconds > 0:
        parser.error(f"--seconds must be positive CPU seconds, got {options.seconds:g}; give more")
    return options
