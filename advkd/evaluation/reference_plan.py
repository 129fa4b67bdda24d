"""What a teacher's reference will take: network passes, and the time of one thread, measured on a few images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from advkd.device import torch_threads
from advkd.evaluation.curve import curve_of, passes_per_step
from advkd.evaluation.reference import SAMPLES
from advkd.evaluation.teacher_states import BATCH, clean_timesteps, evaluation_start, teacher_states
from advkd.features import Extractor, state_features
from advkd.teachers import Teacher

MEASURED_STEPS = 4
MEASURED_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class ReferencePlan:
    """What the reference of an evaluation takes, once per teacher.

    Attributes:
        samples: number of images.
        passes: network passes of all solutions, for all extractors together.
        seconds: of one thread, features included; a flow divides it among its workers.
    """

    samples: int
    passes: int
    seconds: float


def plan_reference(teacher: Teacher, extractors: Sequence[Extractor], samples: int = SAMPLES) -> ReferencePlan:
    """Plans a reference, and measures some passes and features for it.

    Args:
        teacher: the teacher.
        extractors: of the features.
        samples: number of images.

    Raises:
        EvaluationError: no deterministic solver fits the teacher, or its states are not finite.
    """
    curve, count = curve_of(teacher), min(samples, MEASURED_IMAGES, BATCH)
    solver = min(curve.points, key=lambda point: abs(point.steps - MEASURED_STEPS))
    start, device = evaluation_start(teacher, 0, count), str(getattr(teacher, "device", "cpu"))
    labels = clean_timesteps(teacher, solver)
    with torch_threads(1):
        # The first pass of a network allocates and chooses its kernels.
        teacher_states(teacher, start, solver, labels)
        began = time.perf_counter()
        states = teacher_states(teacher, start, solver, labels)[-1]
        per_step = (time.perf_counter() - began) / (count * solver.steps)
        began = time.perf_counter()
        for extractor in extractors:
            state_features(extractor, teacher.space, states, device)
        per_image = (time.perf_counter() - began) / count
    steps = sum(solution.steps for solution in curve.solutions)
    return ReferencePlan(
        samples=samples,
        passes=samples * steps * passes_per_step(teacher, curve.target),
        seconds=samples * (steps * per_step + len(curve.solutions) * per_image),
    )
