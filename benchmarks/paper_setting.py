"""`make bench-paper-setting`: the paper's own setting, 256x256 in a pyramid of 7 submodules, as commands are typed.

The teacher has the layout of `google/ddpm-celebahq-256` and random weights. The plan is that of the preset `paper`. The
shard has as few trajectories and ancestral steps as a CPU can compute in minutes; 28 training steps, which reach the
last submodule, follow from it.
Each command is a process of its own, whose peak memory the system counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from advkd.presets import Wish, choose, preset, trajectory_bytes
from advkd.trajectories import cached_teacher
from benchmarks.full_size import save_celebahq
from benchmarks.measure import progress, table, write

SAMPLES, STEPS, TRAINING_STEPS = 4, 8, 28


@dataclass(frozen=True)
class Command:
    """What a command printed, and what it took: wall seconds, CPU seconds, peak bytes."""

    output: str
    wall: float
    cpu: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/paper_setting.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "ddpm-celebahq-256")
        save_celebahq(folder)
        text = measured(f"{folder}#prediction=epsilon", Path(scratch))
    if options.write:
        write("paper_setting", text)
    else:
        print(text)


def measured(source: str, scratch: Path) -> str:
    """Plans, computes a shard and trains; returns the page."""
    plan = run("plan", source, "--preset", "paper", "--root", str(scratch))
    progress(plan.output)
    base = replace(preset("paper").precompute, teacher=source, store=str(scratch / "stores"))
    choice = choose(Wish(preset="paper"), base, cached_teacher(source, "cpu"))
    asked = choice.precompute
    sizes = ",".join("x".join(map(str, size)) for size in asked.resolutions or ())
    stored = run(
        *("precompute", "--teacher", source, "--store", asked.store, "--for-preset", "any", "--solver", "ddpm"),
        *("--samples", SAMPLES, "--steps", STEPS, "--captures", asked.captures, "--resolutions", sizes),
        *("--shard-samples", SAMPLES, "--block-samples", SAMPLES),
    )
    store = stored.output.splitlines()[-1]
    train = replace(choice.train, batch_size=SAMPLES, accumulate=1, samples=TRAINING_STEPS * SAMPLES)
    (scratch / "spec.json").write_text(json.dumps(asdict(train)))
    trained = run("train", "--store", store, "--out", scratch / "run", "--spec", scratch / "spec.json")
    counted = SAMPLES * trajectory_bytes(train, choice.store)
    rows = [
        row("`advkd plan`", plan),
        row(f"`advkd precompute`, {SAMPLES} trajectories of {STEPS} steps in one shard", stored),
        row(f"`advkd train`, {TRAINING_STEPS} steps of {SAMPLES} trajectories", trained),
    ]
    return (
        "# The paper's own setting\n\n"
        "`make bench-paper-setting`: a teacher with the layout of `google/ddpm-celebahq-256` and random weights, the "
        "preset `paper`, on one shared CPU core. The plan is of the whole preset; the shard and the training are as "
        "small as said. Memory is the process's peak, libraries and weights included; a plan counts "
        f"{counted / 2**30:.2f} GiB of tensors for such a training step.\n\n"
        f"{table(['command', 'wall', 'CPU', 'peak memory'], rows)}\n\n```\n{plan.output.rstrip()}\n```"
    )


def row(name: str, command: Command) -> list[str]:
    return [name, f"{command.wall:.0f} s", f"{command.cpu:.0f} s", f"{command.memory / 2**30:.2f} GiB"]


def run(*arguments: object) -> Command:
    """Runs `advkd` in a process of its own; raises `RuntimeError` if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "advkd", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "150", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"a command must succeed, got {process.returncode} for {arguments[0]}; read what it printed")
    wall = time.perf_counter() - began
    return Command(output, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
