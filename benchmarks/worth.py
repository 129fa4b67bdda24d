"""`make bench-worth`: what the presets' students are worth, by the protocol of the headline.

Trains each preset from its own cache with several training seeds, times it, and evaluates on 5000 noises with three
evaluation seeds, the same noises for the student, the target and every solver. Latency is compared with that of as
many teacher passes as the student is worth. What is finished is not trained again.

The page's rows stand in `docs/benchmarks/worth.json` as well: presets may be measured one by one, on several machines.
"""

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from advkd.device.choice import computes_bfloat16
from advkd.evaluation.cost import measure_cost
from advkd.presets import PRESETS, preset
from advkd.runtime.reporting import progress
from advkd.students.loading import load_student
from advkd.teachers import SolverSpec, load_teacher
from advkd.training.loop import train
from advkd.trajectories import precompute, trajectory_spec
from benchmarks.digits_figures import evaluate
from benchmarks.measure import DOCS, spread, table, write
from benchmarks.measure import progress as say
from storage.objects.access import write_json

TEACHER_STEPS = 20
ROWS = DOCS / "benchmarks" / "worth.json"
HEADER = (
    "preset",
    "trajectories x steps",
    "seeds",
    "arithmetic",
    "training",
    "parameters",
    "worth",
    "in DDIM passes",
    "FD to the target",
    "FD to real",
    "recall",
    "batch 1",
    "batch 64",
)


def main() -> None:
    options = _options()
    rows = {}
    for name in options.presets:
        for seed in range(options.seeds):
            trained(name, seed, options)
        rows[name] = _row(name, [measure(name, seed, options) for seed in range(options.seeds)], options)
        say(f"{name}: {rows[name]}")
    if options.write:
        write_page(rows, options)
    else:
        print(table(HEADER, list(rows.values())))


def write_page(rows: dict[str, list[str]], options: argparse.Namespace) -> None:
    """Puts rows in the place of the same presets' earlier ones."""
    kept = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.is_file() else {}
    # Rows of another protocol have other columns.
    kept = {name: row for name, row in kept.items() if len(row) == len(HEADER)}
    rows = {name: row for name in PRESETS if (row := {**kept, **rows}.get(name))}
    ROWS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    write(
        "worth",
        "# What the presets are worth\n\n`make bench-worth`: the teacher is `digits`. Each student is evaluated on "
        f"{options.evaluation_samples} noises, the same for teacher and student, and its figures are means over "
        f"{options.evaluation_seeds} evaluation seeds. The table shows medians over the training seeds, with the "
        "lowest and the highest in brackets. Training is the CPU time of one process with one torch thread. The last "
        "two columns say how many times faster one student pass is than the teacher passes that it is worth."
        f"\n\n{table(HEADER, list(rows.values()))}",
    )


def trained(name: str, seed: int, options: argparse.Namespace) -> tuple[Path, float]:
    """The run of a preset and the CPU seconds that it took, which are kept beside it."""
    chosen, out = preset(name), Path(options.root) / _label(name, seed, options)
    kept, before = out / "seconds.json", out / "seconds-so-far.json"
    if kept.is_file():
        return out, float(json.loads(kept.read_text()))
    asked, spec = replace(chosen.precompute, store=str(Path(options.root) / "stores")), replace(chosen.train, seed=seed)
    if options.trajectories:
        asked = replace(asked, samples=options.trajectories)
    if options.shrink:
        asked = replace(asked, shrink=options.shrink)
    if options.captures:
        grid = trajectory_spec(asked, load_teacher("digits")).timesteps
        asked, spec = replace(asked, captures=options.captures, shrink=1.0), replace(spec, timesteps=grid)
    with progress() as report:
        store = precompute(asked, lambda done, total: report("trajectories", done, total), os.cpu_count() or 1).uri
        # Of this process and its loader's threads: the clock of a busy machine says nothing.
        spent, began = json.loads(before.read_text()) if before.is_file() else 0.0, time.process_time()
        try:
            for step in train(spec, store, out):
                report("training", step.samples, step.total, f"{step.phase}, error {step.distillation:.4f}")
        finally:
            write_json(str(before), spent + time.process_time() - began)
        before.rename(kept)
    return out, float(json.loads(kept.read_text()))


def _label(name: str, seed: int, options: argparse.Namespace) -> str:
    """Of a run: by another recipe, or from another cache, it is another one."""
    chosen = preset(name)
    facts = json.dumps(
        [asdict(chosen.precompute), asdict(chosen.train), options.trajectories, options.shrink], sort_keys=True
    )
    return f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}-{seed}"


def measure(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Figures of one run of a preset; kept in `<root>/worth-<preset>-<seed>.json`."""
    out, seconds = trained(name, seed, options)
    kept = Path(options.root) / f"worth-{_label(name, seed, options)}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    found = evaluate(out, options.root, options.evaluation_samples, list(range(options.evaluation_seeds)))
    cost = measure_cost(load_student(out), load_teacher("digits"), solver=SolverSpec(kind="unipc", steps=TEACHER_STEPS))
    for batch, milliseconds in cost.student.latency_ms.items():
        at_worth = cost.teacher.latency_ms[batch] * found["worth"] / TEACHER_STEPS
        found[f"speedup {batch}"] = at_worth / milliseconds
    figures = {**found, "seconds": seconds}
    write_json(str(kept), figures)
    return figures


def _row(name: str, runs: list[dict[str, float]], options: argparse.Namespace) -> list[str]:
    def shown(figure: str, form: str) -> str:
        return spread((run[figure] for run in runs), form)

    asked = preset(name).precompute
    worth, ranged = shown("worth", ".1f").split(" ", 1)
    return [
        name,
        f"{options.trajectories or asked.samples} x {asked.solver.steps}",
        str(len(runs)),
        f"{torch.backends.cpu.get_cpu_capability()}, {'bfloat16' if computes_bfloat16('cpu') else 'float32'}",
        f"{shown('seconds', '.0f')} s",
        f"{runs[0]['params'] / 1000:.0f} k",
        f"**{worth}** {ranged}",
        shown("worth_ddim", ".1f"),
        shown("fd", ".2f"),
        shown("fd_real", ".1f"),
        shown("recall", ".3f"),
        f"{shown('speedup 1', '.0f')}x",
        f"{shown('speedup 64', '.0f')}x",
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["quick", "full", "paper"])
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--evaluation-samples", type=int, default=2048)
    parser.add_argument("--evaluation-seeds", type=int, default=3)
    parser.add_argument("--captures", type=int, help="of the cache, where another one than the preset's is at hand")
    parser.add_argument("--trajectories", type=int, help="of the cache, instead of the preset's")
    parser.add_argument("--shrink", type=float, help="of the captured states, instead of the preset's; 1 is even")
    parser.add_argument("--root", default="runs/worth")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/worth.md")
    options = parser.parse_args()
    if options.write and options.shrink:
        parser.error("the page's rows are of the presets as they are, got --shrink; leave out --write")
    return options


if __name__ == "__main__":
    main()
