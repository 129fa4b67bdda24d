"""`make bench-peers`: trains every peer from one cache for as many CPU seconds, and compares them with ours.

`python -m benchmarks.peers --peers ours pairs --seeds 3` measures some of them. What was measured stays below `--root`
and is not repeated, so the command goes on where it was ended; after a change of a peer, remove its files in
`<root>/runs`. `--write` puts the teacher's section into
`docs/benchmarks/peers.md`, and a picture beside the docs' others.
"""

import argparse
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advkd.evaluation.curve import solver_text
from advkd.evaluation.pictures import labelled_rows
from advkd.evaluation.reference import SAMPLES, Reference, references_for
from advkd.features import chosen_features
from advkd.runtime.reporting import progress
from advkd.teachers import load_teacher
from advkd.trajectories import precompute, sample_passes
from benchmarks.cache_process import call
from benchmarks.measure import DOCS
from benchmarks.measure import progress as say
from benchmarks.peers import training_free
from benchmarks.peers.measured import PICTURES, train_and_measure
from benchmarks.peers.page import Runs, section, written
from benchmarks.peers.protocol import Problem, cache_spec, check_problem
from benchmarks.peers.table import BASE, PEERS
from storage.objects.access import write_json


def main() -> None:
    options = _options()
    root = Path(options.root)
    teacher = load_teacher(options.teacher)
    extractors = chosen_features(options.features, teacher)
    if not extractors:
        raise ValueError(
            f"peers are compared in the features of an extractor, got none for {teacher.name!r} by --features "
            f"{options.features}; name one that takes its images"
        )
    with progress() as report:
        store = precompute(
            cache_spec(options.teacher, str(root / "stores"), options.trajectories),
            lambda done, total: report("trajectories", done, total),
            options.workers,
        )
    problem = Problem(teacher=teacher, store=store.uri, seconds=options.seconds)
    check_problem(problem)
    for name in options.peers:
        PEERS[name].check(problem)
    references_for(teacher, extractors[:1], root=str(root), samples=options.evaluation_samples)
    runs = _measured_runs(problem, options, root)
    text, pictures = _compared(problem, options, root, runs)
    print(text)
    if options.write:
        (DOCS / "images" / f"peers-{teacher.name}.png").write_bytes(pictures)
        written(DOCS / "benchmarks" / "peers.md", teacher.name, text)
    else:
        (root / f"peers-{teacher.name}.png").write_bytes(pictures)


def _measured_runs(problem: Problem, options: argparse.Namespace, root: Path) -> dict[str, list[dict[str, float]]]:
    """The runs of every peer, in the order of their seeds; the first seeds of all come first."""
    asked = [(name, seed) for seed in range(options.seeds) for name in options.peers]
    figures: dict[tuple[str, int], dict[str, float]] = {}
    with ThreadPoolExecutor(options.workers) as pool:
        waiting = {pool.submit(_run, _task(problem, options, *run), root): run for run in asked}
        for done, future in enumerate(as_completed(waiting), 1):
            name, seed = waiting[future]
            figures[name, seed] = run = future.result()
            say(
                f"{done}/{len(asked)} {name}, seed {seed}: worth {run['worth']:.2f}, FD {run['fd']:.2f}, "
                f"{run['steps']:.0f} steps in {run['seconds']:.1f} s, {run['params'] / 1000:.0f} k"
            )
    return {name: [figures[name, seed] for seed in range(options.seeds)] for name in options.peers}


def _task(problem: Problem, options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    return {
        "peer": name,
        "teacher": options.teacher,
        "fingerprint": problem.teacher.fingerprint,
        "store": problem.store,
        "recipe": asdict(problem.recipe),
        "seconds": options.seconds,
        "seed": seed,
        "features": options.features,
        "evaluation_samples": options.evaluation_samples,
        "evaluation_seeds": options.evaluation_seeds,
    }


def _places(task: dict[str, Any], root: Path) -> tuple[Path, Path]:
    """Of a run's figures and of its first images."""
    label = f"{task['peer']}-{hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:12]}"
    return root / "runs" / f"{label}.json", root / "runs" / f"{label}.npy"


def _run(task: dict[str, Any], root: Path) -> dict[str, float]:
    kept, pictures = _places(task, root)
    if kept.is_file():
        return dict(json.loads(kept.read_text())["figures"])
    figures = call(train_and_measure, task, str(root), str(pictures), environment={"OMP_NUM_THREADS": "1"})
    write_json(str(kept), {"task": task, "figures": figures})
    return dict(figures)


def _compared(
    problem: Problem, options: argparse.Namespace, root: Path, runs: dict[str, list[dict[str, float]]]
) -> tuple[str, bytes]:
    """The section of the teacher, and its picture."""
    teacher = problem.teacher
    extractor = chosen_features(options.features, teacher)[0]
    (reference,) = references_for(teacher, [extractor], root=str(root), samples=options.evaluation_samples)
    base = runs.get(BASE) or next(iter(runs.values()))
    bought = training_free.afforded(base[0])
    free: dict[str, Runs] = {}
    for solver in training_free.solutions_of(teacher, bought.steps):
        figures = training_free.measured(
            teacher, solver, extractor, reference, str(root), 0, options.evaluation_samples
        )
        work = {"params": base[0]["teacher_params"], "macs": solver.steps * base[0]["teacher_macs"]}
        free[training_free.name_of(solver)] = [figures | work]
    samples = options.trajectories or cache_spec(options.teacher, "").samples
    text = section(
        teacher.name,
        f"{samples} trajectories of {problem.facts.solver_steps} steps of {solver_text(problem.facts.sampler)}, "
        f"{options.seconds:g} CPU seconds for each student, in {problem.recipe.computed_precision}; "
        f"{options.evaluation_samples} noises and {options.evaluation_seeds} evaluation seed(s), features of "
        f"`{extractor.name}`.",
        runs,
        free,
        bought,
        samples * sample_passes(problem.facts),
    )
    return text, _pictures(reference, [_task(problem, options, name, 0) for name in runs], root)


def _pictures(reference: Reference, tasks: list[dict[str, Any]], root: Path) -> bytes:
    """The first images of the target and of every peer's first seed, from the same noises."""
    rows, names = [reference.pictures[:PICTURES]], ["target: a fine solution of the teacher"]
    for task in tasks:
        rows.append(torch.from_numpy(np.load(_places(task, root)[1], allow_pickle=False).astype(np.float32)))
        names.append(PEERS[task["peer"]].title.replace("`", ""))
    return labelled_rows(rows, names)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="digits", help="embedded name, folder, URI or package.module:factory")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=54.0, help="CPU seconds of training for each student")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--trajectories", type=int, help="of the cache, instead of the preset's")
    parser.add_argument("--features", default="auto", help="name of the extractor of figures")
    parser.add_argument("--evaluation-samples", type=int, default=SAMPLES)
    parser.add_argument("--evaluation-seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--root", default="runs/peers")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/peers.md and its picture")
    options = parser.parse_args()
    for name in ("seeds", "evaluation_samples", "evaluation_seeds", "workers"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}; use 1 or more")
    if not options.seconds > 0:
        parser.error(f"--seconds must be positive CPU seconds, got {options.seconds:g}; give more")
    return options


if __name__ == "__main__":
    main()
