"""`make bench-peers`: trains every peer from one cache for as many CPU seconds, and compares them with ours.

`python -m benchmarks.peers --peers ours pairs --seeds 3` measures some of them. What was measured stays below `--root`
and is not repeated, so the command goes on where it was ended; after a change of a peer, remove its files in
`<root>/runs`. `--write` puts the teacher's section into
`docs/benchmarks/peers.md`, and a picture beside the docs' others.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advkd.evaluation.curve import passes_per_step, solver_text
from advkd.evaluation.pictures import labelled_rows
from advkd.evaluation.reference import Reference, references_for
from advkd.features import Extractor
from advkd.trajectories import sample_passes
from benchmarks.measure import DOCS
from benchmarks.measure import progress as say
from benchmarks.peers import training_free
from benchmarks.peers.measured import PICTURES, shortened
from benchmarks.peers.page import Runs, section, written
from benchmarks.peers.protocol import Problem, cache_spec
from benchmarks.peers.runs import add_options, kept_run, parsed, places, prepared, refer, task_of
from benchmarks.peers.table import BASE, PEERS


def main() -> None:
    options = _options()
    root = Path(options.root)
    problem, extractor = prepared(options)
    for name in options.peers:
        PEERS[name].check(problem)
    refer(problem, options)
    runs = _measured_runs(problem, options)
    text, pictures = _compared(problem, extractor, options, runs)
    print(text)
    if options.write:
        (DOCS / "images" / f"peers-{problem.teacher.name}.png").write_bytes(pictures)
        written(DOCS / "benchmarks" / "peers.md", problem.teacher.name, text)
    else:
        (root / f"peers-{problem.teacher.name}.png").write_bytes(pictures)


def _measured_runs(problem: Problem, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """The runs of every peer, in the order of their seeds; the first seeds of all come first."""
    asked = [(name, seed) for seed in range(options.seeds) for name in options.peers]
    figures: dict[tuple[str, int], dict[str, float]] = {}
    with ThreadPoolExecutor(options.workers) as pool:
        waiting = {pool.submit(kept_run, _task(problem, options, *run), options.root): run for run in asked}
        for done, future in enumerate(as_completed(waiting), 1):
            name, seed = waiting[future]
            figures[name, seed] = run = future.result()
            say(
                f"{done}/{len(asked)} {name}, seed {seed}: worth {run['worth']:.2f}, FD {run['fd']:.2f}, "
                f"{run['steps']:.0f} steps in {run['seconds']:.1f} s, {run['params'] / 1000:.0f} k"
            )
    return {name: [figures[name, seed] for seed in range(options.seeds)] for name in options.peers}


def _task(problem: Problem, options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    return task_of(problem, name, seed, problem.recipe, options)


def _compared(
    problem: Problem, extractor: Extractor, options: argparse.Namespace, runs: dict[str, list[dict[str, float]]]
) -> tuple[str, bytes]:
    """The section of the teacher, and its picture."""
    teacher, root = problem.teacher, options.root
    curve = shortened(teacher, options.target_steps, options.curve_steps)
    (reference,) = references_for(teacher, [extractor], root=root, curve=curve, samples=options.evaluation_samples)
    base = runs.get(BASE) or next(iter(runs.values()))
    bought = training_free.afforded(base[0])
    free: dict[str, Runs] = {}
    for solver in training_free.solutions_of(teacher, bought.steps):
        figures = training_free.measured(teacher, solver, extractor, reference, root, 0, options.evaluation_samples)
        work = {"params": base[0]["teacher_params"], "macs": solver.steps * base[0]["teacher_macs"]}
        free[training_free.name_of(solver)] = [figures | work]
    samples = options.trajectories or cache_spec(options.teacher, "").samples
    passes = passes_per_step(teacher, curve.target)
    guided = f"; under guidance a step of the teacher is {passes} passes" if passes > 1 else ""
    text = section(
        teacher.name,
        f"{samples} trajectories of {problem.facts.solver_steps} steps of {solver_text(problem.facts.sampler)}, "
        f"{options.seconds:g} CPU seconds for each student, in {problem.recipe.computed_precision}; "
        f"{options.evaluation_samples} noises and {options.evaluation_seeds} evaluation seed(s), features of "
        f"`{extractor.name}`, target of {options.target_steps} steps{guided}.",
        runs,
        free,
        bought,
        samples * sample_passes(problem.facts),
    )
    return text, _pictures(reference, [_task(problem, options, name, 0) for name in runs], root)


def _pictures(reference: Reference, tasks: list[dict[str, Any]], root: str) -> bytes:
    """The first images of the target and of every peer's first seed, from the same noises."""
    rows, names = [reference.pictures[:PICTURES]], ["target: a fine solution of the teacher"]
    for task in tasks:
        rows.append(torch.from_numpy(np.load(places(task, root)[1], allow_pickle=False).astype(np.float32)))
        names.append(PEERS[task["peer"]].title.replace("`", ""))
    return labelled_rows(rows, names)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    add_options(parser, "runs/peers", "docs/benchmarks/peers.md and its picture", seeds=3)
    return parsed(parser)


if __name__ == "__main__":
    main()
