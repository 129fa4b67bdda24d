"""`make bench-evaluation`: the time of an RGB teacher's reference against its plan, and of a student judged afterwards.

The teacher is a diffusers UNet of 3x32x32 with random weights, as large as small RGB teachers are; the student has a
sixteenth of its multiply-adds. Both run in one thread. The reference is computed as an evaluation computes it: all
solvers, in the teacher's own features.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from advkd.device import torch_threads
from advkd.evaluation import EvaluateSpec, evaluate, plan_reference
from advkd.features import chosen_features
from advkd.networks import multiply_adds, parameters
from advkd.runtime.reporting import progress as shown
from advkd.students import LayerwiseStudent
from advkd.teachers import SolverSpec, load_teacher
from benchmarks.measure import progress, table, write

GRID = (999, 749, 499, 249, 0)


def save_teacher(folder: Path, width: int) -> str:
    """Saves a teacher of 3x32x32 with random weights; returns its source."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=1,
        block_out_channels=(width, 2 * width, 2 * width, 4 * width),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), norm_num_groups=8,
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler(clip_sample=False)).save_pretrained(folder)
    # Random weights do not show what they predict.
    return f"{folder}#prediction=epsilon"


def measure(samples: int, width: int, folder: Path) -> list[str]:
    """Plans and computes a reference, then judges another student; returns a row of the table."""
    source = save_teacher(folder / "teacher", width)
    teacher = load_teacher(source)
    levels = teacher.grid(SolverSpec(steps=20)).at(GRID)
    for seed in range(2):
        torch.manual_seed(seed)
        student = LayerwiseStudent(teacher.space.shape, GRID, levels.signal, levels.sigma, width=32, blocks=2, patch=2)
        student.save_pretrained(folder / f"student-{seed}")
    spec = EvaluateSpec(
        student=str(folder / "student-0"),
        teacher=source,
        out=str(folder / "report"),
        references=str(folder / "references"),
        samples=samples,
        trajectory_samples=min(samples, 64),
    )
    network = teacher.network  # type: ignore[attr-defined]
    with torch.no_grad(), torch_threads(1):
        macs = multiply_adds(lambda: network(torch.zeros(1, 3, 32, 32), torch.tensor([500])))
        plan = plan_reference(teacher, chosen_features("auto", teacher), samples)
        progress(f"planned: {plan.seconds:.0f} s for {plan.passes} passes")
        began = time.process_time()
        with shown() as report:
            evaluate(spec, report)
        first = time.process_time() - began
        began = time.process_time()
        evaluate(replace(spec, student=str(folder / "student-1"), out=str(folder / "report-1")))
        second = time.process_time() - began
    reference = first - second
    return [
        f"{parameters(network) / 1e6:.1f} M",
        f"{macs / 1e6:.0f} M",
        f"{samples:,}",
        f"{plan.seconds:.0f} s",
        f"{reference:.0f} s",
        f"{reference / plan.seconds:.2f}",
        f"{second:.0f} s",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--width", type=int, default=32, help="channels of the teacher's first block")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/evaluation.md")
    options = parser.parse_args()
    rows = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(options.samples, options.width, Path(folder)))
            progress(" | ".join(rows[-1]))
    header = ["parameters", "multiply-adds", "images", "planned", "took", "ratio", "another student, afterwards"]
    text = table(header, rows)
    if options.write:
        about = (
            "`make bench-evaluation`: an RGB teacher of 3x32x32 with random weights, CPU seconds of one thread. The "
            "plan is that of `advkd cache plan`. *Took* is the first evaluation less the second, which found the "
            "reference. To reach: a ratio of 0.7 to 1.3, and another student in 120 s. Each row is a run."
        )
        write("evaluation", f"# The time of an evaluation\n\n{about}\n\n{text}")
    else:
        print(text)


if __name__ == "__main__":
    main()
