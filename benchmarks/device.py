"""`make bench-device`: what a student costs in ONNX Runtime, beside torch and beside its teacher, on this machine.

The student of digits is the champion of `make demo`. That of 3x32x32 has random weights, which cost as much as trained
ones; it has no teacher, so the error of its images decides on its 8 bits.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from advkd.diffusion import linear_schedule
from advkd.export import ExportSpec, cost_lines, export_student, read_cost
from advkd.registry import student_folder
from advkd.students import LayerwiseStudent
from benchmarks.measure import DOCS, progress, table, write

OPENING, CLOSING = "<!-- page -->", "\n<!-- /page -->"
"""Between them stands what `benchmarks.device_page` measured."""
GRID = (999, 749, 499, 249, 0)

BOUND = (
    "The larger student is bound by arithmetic. Convolutions take 95 % of ONNX Runtime's time at batch 64 (folded, in "
    "blocked layout, with fused activations: without those optimisations 195 ms of processor time instead of 138), at "
    "41 G multiply-adds a second, about what a core without AVX-512 can do. torch needs 148 ms there, so in float no "
    "runtime is 1.5 times as fast on this core; 8 bits are."
)
"""What a profile said, once."""


def save_rgb(folder: Path, width: int) -> Path:
    """Saves a student of 3x32x32 with random weights."""
    torch.manual_seed(0)
    schedule = linear_schedule()
    levels = ([schedule.signal(t) for t in GRID], [schedule.sigma(t) for t in GRID])
    student = LayerwiseStudent((3, 32, 32), GRID, *levels, width=width, blocks=2)
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(0.01 * torch.randn(weight.shape))
    student.save_pretrained(folder)
    return folder


def measure(name: str, student: Path, teacher: str | None, references: str, out: Path) -> str:
    """Exports a student in all precisions; returns a section of the page."""
    precisions = ("fp32", "fp16", "int8")
    spec = ExportSpec(
        student=str(student), out=str(out), precisions=precisions, teacher=teacher, references=references, seconds=1.0
    )
    export_student(spec)
    card = read_cost(str(out))
    assert card is not None
    models = json.loads((out / "metadata.json").read_text())["models"]
    rows = []
    for precision, model in models.items():
        parity, distance = model["parity"], model["distance_to_teacher"]
        kept = model.get("quantized", {}).get("in_float", [])
        rows.append(
            [
                precision,
                f"{model['bytes'] / models['fp32']['bytes']:.2f}",
                f"{parity['largest']:.1e}",
                f"{parity['rmse']:.1e}",
                "-" if distance is None else f"{distance['fd']:.2f}",
                "-" if distance is None or distance["worth"] is None else f"{distance['worth']['passes']:.1f}",
                str(len(kept)) if precision == "int8" else "-",
            ]
        )
        progress(f"{name}: {' | '.join(rows[-1])}")
    header = ["", "file, of fp32's", "largest difference", "rmse", "FD to the teacher", "worth", "layers in float"]
    costs = "\n".join(cost_lines(card))
    return f"## {name}\n\n{costs}\n\n{table(header, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", default="models:/advkd-digits@champion")
    parser.add_argument("--teacher", default="digits")
    parser.add_argument("--runs", default="runs/demo", help="root of the flow that registered the student")
    parser.add_argument("--width", type=int, default=48, help="channels of the student of 3x32x32")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/device.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = student_folder(options.student, options.runs)
        rgb = save_rgb(folder / "rgb", options.width)
        sections = [
            measure("Digits, 1x16x16", digits, options.teacher, options.runs, folder / "onnx"),
            measure("Random weights, 3x32x32", rgb, None, options.runs, folder / "onnx-rgb"),
        ]
    text = "\n\n".join([*sections, BOUND])
    if options.write:
        about = (
            "`make bench-device` after `make demo`: students in ONNX Runtime beside torch eager, timed in turns in one "
            "run, and the teacher at as many passes as the student is worth. Memory is that of a process that makes 64 "
            "images. Differences are of images in [0, 1] on 256 noises, against torch in float32."
        )
        kept = (DOCS / "benchmarks" / "device.md").read_text(encoding="utf-8").partition(OPENING)
        write("device", f"# Students on the device\n\n{about}\n\n{text}\n\n{OPENING}{kept[2].rstrip() or CLOSING}")
    else:
        print(text)


if __name__ == "__main__":
    main()
