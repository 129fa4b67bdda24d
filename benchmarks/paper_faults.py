"""`make bench-faults`: what each known fault of the released recipe costs, and each fix of it brings.

The paper's student from one ancestral cache of the closed-form teacher, trained as the released code does it, with each
fault fixed alone, with all of them fixed, and with each fault alone switched on again. What is measured stays in
`runs/faults/` and is not measured again.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from advkd.presets import preset
from advkd.runtime.reporting import progress
from advkd.training.loop import train
from advkd.training.methods.paper_spec import RELEASED, PaperSpec
from advkd.training.methods.spec_json import train_spec_from_json
from advkd.trajectories import precompute
from benchmarks.cache_process import call
from benchmarks.digits_figures import evaluate
from benchmarks.measure import progress as say
from benchmarks.measure import table, write
from storage.objects.access import write_json

TEACHER = "mixture"
FAULTS = {
    "input_noise": "training noise clipped to 8 bits",
    "weight_clip": "weights clipped beside the penalty",
    "discriminator_norm": "BatchNorm under the penalty",
    "ema_halflife": "no average",
    "penalty_every": "penalty every step",
}
EVALUATION_SAMPLES = 2048


def variants(samples: int) -> dict[str, PaperSpec]:
    """The rows of the table, from the released recipe to all fixes."""
    paper = preset("paper").train
    assert isinstance(paper, PaperSpec)
    fixed = replace(paper, samples=samples, checkpoint_every=10**9, report_every=100, ema_halflife=samples / 20)
    released = replace(fixed, **RELEASED)
    good = asdict(fixed)
    return {
        "as released": released,
        **{f"as released, but not: {text}": replace(released, **{name: good[name]}) for name, text in FAULTS.items()},
        "all fixed": fixed,
        **{f"all fixed, but: {text}": replace(fixed, **{name: RELEASED[name]}) for name, text in FAULTS.items()},
    }


def main() -> None:
    options = _options()
    root = Path(options.root)
    with progress() as report:
        asked = replace(preset("paper").precompute, teacher=TEACHER, store=str(root / "stores"))
        store = precompute(asked, lambda done, total: report("trajectories", done, total), os.cpu_count() or 1).uri
    chosen = variants(options.samples)
    with ThreadPoolExecutor(options.workers) as pool:
        found = list(pool.map(lambda name: _measured(name, chosen[name], store, root), chosen))
    rows = [
        [
            name,
            f"{one['fd']:.1f}",
            f"{one['fd_real']:.1f}",
            f"{one['recall']:.3f}",
            f"{one['worth']:.1f}",
            f"{one['seconds']:.0f}",
        ]
        for name, one in zip(chosen, found, strict=True)
    ]
    text = (
        "# Faults of the released recipe\n\n"
        f"`make bench-faults` trains the `paper` preset's student on {asked.samples} ancestral trajectories of "
        f"{asked.solver.steps} steps from the closed-form teacher `{TEACHER}`: {options.samples} samples of training, "
        f"one seed, evaluated on {EVALUATION_SAMPLES} noises. FD is measured in the features of the digit classifier, "
        "to the teacher at 50 deterministic steps and to real digits. Worth is in steps of that teacher; seconds are "
        "CPU seconds of training.\n\n"
        f"{table(['recipe', 'FD to the target', 'FD to real', 'recall', 'worth', 'seconds'], rows)}"
    )
    if options.write:
        write("paper_faults", text)
    else:
        print(text)


def measure(facts: dict[str, Any], store: str, out: str, root: str) -> dict[str, float]:
    """One training run and its distances."""
    began = time.process_time()
    for _ in train(train_spec_from_json(facts), store, Path(out)):
        pass
    seconds = time.process_time() - began
    return {**evaluate(Path(out), root, EVALUATION_SAMPLES, [0], TEACHER), "seconds": seconds}


def _measured(name: str, spec: PaperSpec, store: str, root: Path) -> dict[str, float]:
    out = root / "".join(letter if letter.isalnum() else "-" for letter in f"{name} {spec.samples}")
    kept = out / "figures.json"
    if not kept.is_file():
        # Under the name by which the other process finds it.
        from benchmarks.paper_faults import measure as named

        found = call(named, asdict(spec), store, str(out), str(root), environment={"OMP_NUM_THREADS": "1"})
        write_json(str(kept), found)
    figures = dict(json.loads(kept.read_text()))
    say(f"{name}: FD {figures['fd']:.1f}, to real {figures['fd_real']:.1f}, recall {figures['recall']:.3f}")
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=51_200, help="of training; the preset sees 204 800")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--root", default="runs/faults")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/paper_faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
