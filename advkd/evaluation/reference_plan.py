"""What a teacher's reference will take: network passes, and the time of one thread, measured on a few images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from torch import Tensor

from advkd.device import torch_threads, work_clock
from advkd.evaluation.curve import Curve, curve_of, passes_per_step
from advkd.evaluation.reference import SAMPLES, kept_reference
from advkd.evaluation.solutions import Solutions
from advkd.evaluation.teacher_states import BATCH, clean_timesteps, evaluation_start, teacher_states
from advkd.features import Extractor, state_features
from advkd.teachers import SolverSpec, Teacher

MEASURED_STEPS = 4
MEASURED_IMAGES = 32
SLOW_SECONDS = 0.2
STEADY_SECONDS = 1.0
MOST_TIMES = 20
SEED = 0
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ReferencePlan:
    """What the reference of an evaluation takes, once per teacher.

    Attributes:
        samples: number of images.
        passes: network passes of the solutions that are still missing, for all extractors together; 0 if all are there.
        seconds: of computing in one thread, features included; a flow divides it among its workers.
    """

    samples: int
    passes: int
    seconds: float


def plan_reference(
    teacher: Teacher, extractors: Sequence[Extractor], samples: int = SAMPLES, root: str = "runs"
) -> ReferencePlan:
    """Plans a reference, and measures some passes and features for it unless all is there.

    Args:
        teacher: the teacher.
        extractors: of the features.
        samples: number of images.
        root: folder or URI below which references are kept.

    Raises:
        EvaluationError: no deterministic solver fits the teacher, or its states are not finite.
    """
    curve = curve_of(teacher)
    missing = tuple(e for e in extractors if kept_reference(teacher, curve, e, root, SEED, samples) is None)
    if extractors and not missing:
        return ReferencePlan(samples=samples, passes=0, seconds=0.0)
    solutions = Solutions(teacher=teacher, extractors=missing, root=root, seed=SEED, samples=samples)
    steps = sum(solutions.missing_passes(solver) for solver in curve.solutions)
    per_step, per_image = _measured(teacher, curve, missing, min(samples, MEASURED_IMAGES, BATCH))
    return ReferencePlan(
        samples=samples,
        passes=steps * passes_per_step(teacher, curve.target),
        seconds=steps * per_step + samples * len(curve.solutions) * per_image,
    )


def _measured(teacher: Teacher, curve: Curve, extractors: Sequence[Extractor], most: int) -> tuple[float, float]:
    """Returns the seconds of a solver step, and of an image's features; of slow networks, one image says it."""
    device = str(getattr(teacher, "device", "cpu"))
    clock = work_clock(device)

    def solved(count: int, solver: SolverSpec) -> Tensor:
        start, labels = evaluation_start(teacher, SEED, count), clean_timesteps(teacher, solver)
        return teacher_states(teacher, start, solver, labels)[-1]

    def described(states: Tensor) -> None:
        for extractor in extractors:
            state_features(extractor, teacher.space, states, device)

    with torch_threads(1):
        count, solver = 1, curve.points[0]
        states, taken = _steady(lambda: solved(count, solver), clock, 0.0)
        if taken / solver.steps < SLOW_SECONDS:
            count, solver = most, min(curve.points, key=lambda point: abs(point.steps - MEASURED_STEPS))
            states, taken = _steady(lambda: solved(count, solver), clock)
        return taken / (count * solver.steps), _steady(lambda: described(states), clock)[1] / count


def _steady(work: Callable[[], T], clock: Callable[[], float], seconds: float = STEADY_SECONDS) -> tuple[T, float]:
    """Returns what some work makes, and its seconds when it is repeated for `seconds`: the median of the later half.

    The first times are longer by half, since memory is allocated and kernels are chosen.
    """
    times: list[float] = []
    # There may be next to nothing to do, such as no features.
    while not times or (sum(times) < seconds and len(times) < MOST_TIMES):
        began = clock()
        made = work()
        times.append(clock() - began)
    return made, median(times[len(times) // 2 :])
