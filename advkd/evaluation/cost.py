"""Measures the cost of samplers: parameters, multiply-adds per image, latency; student and teacher on one device."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from advkd.device import torch_threads
from advkd.diffusion import Start, embedded
from advkd.evaluation.curve import Curve, fits, passes_per_step
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_start
from advkd.networks import multiply_adds, parameters
from advkd.students import AnyStudent
from advkd.teachers import SolverSpec, Teacher

BATCHES = (1, 64)
TEACHER_STEPS = 20
MIN_REPEATS = 3
MAX_REPEATS = 30


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a sampler.

    Attributes:
        passes: network passes per image; under guidance, two per step.
        params: number of parameters; None for a teacher without a network.
        macs: multiply-adds per image over all passes; None for a teacher without a network.
        latency_ms: median milliseconds to sample a batch, by batch size.
        repeats: number of measurements behind each median, by batch size.
    """

    passes: int
    params: int | None
    macs: int | None
    latency_ms: dict[int, float]
    repeats: dict[int, int]


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """The costs of student and teacher, and the device on which they were timed."""

    student: Cost
    teacher: Cost
    device: str
    threads: int


def measure_cost(
    student: AnyStudent,
    teacher: Teacher,
    *,
    solver: SolverSpec,
    device: str = "cpu",
    threads: int = 1,
    seconds: float = 1.0,
) -> CostReport:
    """Measures the cost of both samplers.

    Args:
        student: the student, one pass per image; moved to `device`.
        teacher: the teacher, on its own device.
        solver: the teacher's solver and its number of steps, see `cost_solver`.
        device: torch device of the student.
        threads: number of torch's threads for both.
        seconds: measuring time per sampler and batch size; at least 3 repeats are measured.
    """
    student = student.to(device)
    one_step = SolverSpec(kind=solver.kind, steps=1)

    def sample_student(start: Start) -> None:
        student(start.noise, **told[len(start)])

    def sample_teacher(start: Start, by: SolverSpec = solver) -> None:
        for _ in teacher.states(start, by, clean_timesteps(teacher, by)):
            pass

    def warm_teacher(start: Start) -> None:
        sample_teacher(start, one_step)

    starts = {batch: evaluation_start(teacher, 0, batch).to(device) for batch in BATCHES}
    # What embeds prompts is paid once for each of them, not for each image.
    told = {batch: embedded(teacher.conditions, start.condition) for batch, start in starts.items()}

    network: nn.Module | None = getattr(teacher, "network", None)
    with torch.no_grad(), torch_threads(threads):
        student_latency = _latencies(sample_student, sample_student, starts, device, seconds)
        teacher_latency = _latencies(sample_teacher, warm_teacher, starts, device, seconds)
        student_macs = multiply_adds(lambda: sample_student(starts[1]))
        # A step runs the network once, and the solver's own arithmetic has no matrix products.
        teacher_macs = None if network is None else solver.steps * multiply_adds(lambda: warm_teacher(starts[1]))
    return CostReport(
        student=Cost(
            passes=1,
            params=parameters(student),
            macs=student_macs,
            latency_ms={batch: latency[0] for batch, latency in student_latency.items()},
            repeats={batch: latency[1] for batch, latency in student_latency.items()},
        ),
        teacher=Cost(
            passes=solver.steps * passes_per_step(teacher, solver),
            params=None if network is None else parameters(network),
            macs=teacher_macs,
            latency_ms={batch: latency[0] for batch, latency in teacher_latency.items()},
            repeats={batch: latency[1] for batch, latency in teacher_latency.items()},
        ),
        device=device_name(device),
        threads=threads,
    )


def cost_solver(teacher: Teacher, curve: Curve) -> SolverSpec:
    """Returns what the teacher is timed under: the solver of its target at 20 steps, or the nearest that fits."""
    near = sorted(range(1, curve.target.steps + 1), key=lambda steps: abs(steps - TEACHER_STEPS))
    steps = next(steps for steps in (*near, curve.target.steps) if fits(teacher, curve.target.kind, steps))
    return SolverSpec(kind=curve.target.kind, steps=steps)


def device_name(device: str) -> str:
    """Returns the name of the processor or GPU, for people."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _latencies(
    run: Callable[[Start], object],
    warm_up: Callable[[Start], object],
    starts: Mapping[int, Start],
    device: str,
    seconds: float,
) -> dict[int, tuple[float, int]]:
    latencies = {}
    for batch, start in starts.items():
        for _ in range(2):
            warm_up(start)
        times: list[float] = []
        while len(times) < MIN_REPEATS or (sum(times) < seconds and len(times) < MAX_REPEATS):
            _synchronize(device)
            began = time.perf_counter()
            run(start)
            _synchronize(device)
            times.append(time.perf_counter() - began)
        latencies[batch] = (1000.0 * statistics.median(times), len(times))
    return latencies


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
