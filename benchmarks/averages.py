"""`make bench-averages`: which average of the weights to take, found after training.

One run of the recipe keeps its weights every few steps; every horizon is then averaged from those, as the loop would
have (Karras et al. 2024 do so with power functions). So all rows are of the same runs, and differ in the average alone.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from advkd.device.threads import no_denormals, torch_threads
from advkd.optimizers.ema import Ema
from advkd.runtime.reporting import progress
from advkd.students import StudentSpec
from advkd.training import TrainSpec
from advkd.training.data import to_torch
from advkd.training.loop import STUDENT_FOLDER, export_student
from advkd.training.methods.table import build_method
from advkd.training.state import TrainState
from benchmarks.digits_figures import evaluate
from benchmarks.measure import progress as say
from benchmarks.measure import spread, table, write
from storage import TrajectoryLoader
from storage.objects.access import write_json

BASE = TrainSpec(student=StudentSpec(width=32, blocks=2), timesteps=(999, 459, 199, 59, 0), window=16)
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Half-lives, in shares of the run."""
STRIDE = 4
"""Steps between two weights that are kept."""
Weights = dict[str, Tensor]


def main() -> None:
    options = _options()
    runs = [_measured(seed, options) for seed in range(options.seeds)]
    rows = []
    for share in SHARES:
        found = [run[str(share)] for run in runs]
        row = [spread((one["worth"] for one in found), ".1f"), spread(one["fd"] for one in found)]
        recall = statistics.median(one["recall"] for one in found)
        rows.append(["none" if share == 0 else f"{share:.0%}", *row, f"{recall:.3f}"])
    text = (
        f"# Averages of the weights\n\n`make bench-averages` trains a shortened preset `full` for "
        f"{options.steps} steps with {options.seeds} training seed(s), keeps the weights of every {STRIDE}th step and "
        f"averages them after training. Each average is evaluated on {options.evaluation_samples} noises with one "
        "evaluation seed. Figures are medians over the training seeds, with the lowest and the highest in brackets."
        f"\n\n{table(['half-life, share of the run', 'worth', 'FD to the target', 'recall'], rows)}"
    )
    if options.write:
        write("averages", text)
    else:
        print(text)


def _measured(seed: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Figures by share; kept in `<root>/averages-<seed>.json`."""
    kept = Path(options.root) / f"averages-{options.steps}-{seed}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    state, weights = _trained(seed, options)
    batch, total = BASE.batch_size, options.steps * BASE.batch_size
    found = {}
    for share in SHARES:
        state.ema = _average(state.student, weights, batch * STRIDE, share * total)
        out = Path(options.root) / "averages"
        export_student(state, out / STUDENT_FOLDER)
        found[str(share)] = evaluate(out, options.root, options.evaluation_samples, [0])
        say(f"seed {seed}, half-life {share:.0%}: {found[str(share)]}")
    write_json(str(kept), found)
    return found


@torch_threads(1)
@no_denormals()
def _trained(seed: int, options: argparse.Namespace) -> tuple[TrainState, list[Weights]]:
    """The base, trained as the loop does, and its weights on the way."""
    spec = replace(BASE, seed=seed, samples=options.steps * BASE.batch_size)
    loader = TrajectoryLoader(
        options.store, timesteps=spec.timesteps, batch_size=spec.batch_size, seed=seed, window=spec.window
    )
    method = build_method(spec, loader.manifest.spec)
    state, weights = method.state, []
    batches = iter(loader)
    with progress() as report:
        for step in range(1, options.steps + 1):
            method.step(to_torch(next(batches), method.store.timesteps, torch.device("cpu")))
            state.samples += spec.batch_size
            if step % STRIDE == 0:
                weights.append({name: value.clone() for name, value in state.student.state_dict().items()})
            report("training", step, options.steps)
    batches.close()
    return state, weights


def _average(student: nn.Module, weights: list[Weights], samples: int, halflife: float) -> Ema:
    """Of weights that lie some samples apart, short at first as in the loop."""
    student.load_state_dict(weights[0])
    average = Ema(student)
    for number, one in enumerate(weights, 1):
        student.load_state_dict(one)
        average.update(student, samples, min(halflife, 0.1 * number * samples))
    return average


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, help="URI of a store of digits with every state of 50 DDIM steps")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--evaluation-samples", type=int, default=5000)
    parser.add_argument("--root", default="runs/recipe")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/averages.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
