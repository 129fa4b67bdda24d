"""The rows of a cost card: a student in torch, its exported networks in ONNX Runtime, and its teacher."""

import subprocess
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from advkd.device import torch_threads
from advkd.evaluation import (
    TeacherAtHand,
    clean_timesteps,
    evaluation_start,
    passes_per_step,
    solver_text,
)
from advkd.export.cost_card import BATCHES, CostCard, CostRow, Runner, measure_costs
from advkd.export.onnx.graph import ImageNetwork, Subject, outputs_of
from advkd.export.onnx.metadata import versions
from advkd.export.onnx.parity import session_run
from advkd.networks import multiply_adds, parameters
from advkd.teachers import SolverSpec

_IN_ONNX_RUNTIME = """
import sys
sys.path.insert(0, sys.argv[1])
from advkd_onnx import Student
Student(sys.argv[1], sys.argv[2], threads=1).images({count}, batch_size={count})
"""
_IN_TORCH = """
import sys
from pathlib import Path
from advkd.export.onnx import sample_in_torch
sample_in_torch(Path(sys.argv[1]), {count})
"""
_PEAK = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def student_costs(
    subject: Subject,
    network: ImageNetwork,
    files: Mapping[str, Path],
    *,
    teacher: TeacherAtHand | None = None,
    fd: float | None = None,
    seconds: float = 0.3,
    memory: bool = True,
) -> CostCard:
    """Measures a student in torch and in ONNX Runtime, and its teacher, if at hand, at the passes that it is worth.

    Args:
        subject: the student.
        network: its network in float32.
        files: exported networks by precision, in a folder with what runs them.
        teacher: its teacher.
        fd: the student's distance to it, which says how many passes it is worth.
        seconds: see `measure_costs`.
        memory: whether to measure peak memory as well, in a process for each row.
    """
    weights = parameters(network.student) + (0 if network.decoder is None else parameters(network.decoder))
    operations = multiply_adds(lambda: outputs_of(network, subject.inputs(0, 0, 1)))
    inputs = {batch: subject.inputs(0, 0, batch) for batch in BATCHES}

    def in_torch(batch: int, threads: int) -> None:
        with torch_threads(threads):
            outputs_of(network, inputs[batch])

    def in_onnx_runtime(content: bytes, batch: int, threads: int) -> None:
        session(content, threads)(inputs[batch])

    @cache
    def session(content: bytes, threads: int) -> Any:
        return session_run(content, threads)

    rows = [
        Runner(
            row=CostRow(
                name="torch eager",
                file_bytes=_weight_bytes(network),
                parameters=weights,
                multiply_adds=operations,
                peak_memory_bytes=_peak(_IN_TORCH, str(subject.folder)) if memory else None,
                latencies=(),
            ),
            run=in_torch,
        )
    ]
    for precision, file in files.items():
        peak = _peak(_IN_ONNX_RUNTIME, str(file.parent), precision) if memory else None
        row = CostRow(
            name=f"ONNX Runtime {precision}",
            file_bytes=file.stat().st_size,
            parameters=weights,
            multiply_adds=operations,
            peak_memory_bytes=peak,
            latencies=(),
        )
        rows.append(Runner(row=row, run=partial(in_onnx_runtime, file.read_bytes())))
    if teacher is not None and fd is not None:
        rows.append(_teacher_runner(teacher, fd))
    return measure_costs(rows, {name: versions()[name] for name in ("torch", "onnxruntime")}, seconds)


def sample_in_torch(folder: Path, count: int) -> None:
    """Makes one batch of a student's images in torch, on one thread: what a process of its own is measured by."""
    from advkd.export.onnx.graph import open_subject

    subject = open_subject(folder)
    with torch_threads(1):
        outputs_of(ImageNetwork(subject, states=False), subject.inputs(0, 0, count))


def _teacher_runner(at_hand: TeacherAtHand, fd: float) -> Runner:
    teacher, solver = at_hand.teacher, at_hand.solver_worth(fd)
    network = getattr(teacher, "network", None)
    starts = {batch: evaluation_start(teacher, 0, batch) for batch in BATCHES}

    def run(batch: int, threads: int, by: SolverSpec = solver) -> None:
        with torch.no_grad(), torch_threads(threads):
            for _ in teacher.states(starts[batch], by, clean_timesteps(teacher, by)):
                pass

    per_step = passes_per_step(teacher, solver)
    one_step = SolverSpec(kind=solver.kind, steps=1)
    row = CostRow(
        name=f"teacher, {per_step * solver.steps} passes of {solver_text(solver.kind)}",
        file_bytes=None,
        parameters=None if network is None else parameters(network),
        multiply_adds=None if network is None else solver.steps * multiply_adds(lambda: run(1, 1, one_step)),
        peak_memory_bytes=None,
        latencies=(),
    )
    return Runner(row=row, run=run)


def _weight_bytes(network: ImageNetwork) -> int:
    return sum(values.numel() * values.element_size() for values in network.state_dict().values())


def _peak(script: str, *arguments: str) -> int | None:
    """Most memory, in bytes, of a Python that runs a script; None where it fails or the system does not say."""
    code = script.format(count=max(BATCHES)) + _PEAK
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    said = done.stdout.strip()
    return 1024 * int(said) if done.returncode == 0 and said.isdecimal() else None
