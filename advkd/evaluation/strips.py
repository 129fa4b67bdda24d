"""Student and teacher along the time grid, on some of the evaluation's noises: a part of them at a time."""

import math
from collections.abc import Callable, Iterator

from advkd.evaluation.pictures import Strips
from advkd.evaluation.spec import EvaluateSpec
from advkd.evaluation.student_states import student_strips
from advkd.evaluation.teacher_states import evaluation_part, teacher_trajectory
from advkd.students import AnyStudent
from advkd.teachers import SolverSpec, Teacher

_BYTES = 2**28
"""Of the states of a part, of student and teacher together."""
_SMALLEST = 8


def all_strips(
    student: AnyStudent,
    teacher: Teacher,
    solver: SolverSpec,
    spec: EvaluateSpec,
    progress: Callable[[int, int], None],
) -> Iterator[Strips]:
    """Yields states on the first `spec.trajectory_samples` noises, in parts that are small enough to be held.

    Args:
        student: the student.
        teacher: its teacher, whose states are computed once and kept below `spec.references`.
        solver: passes through the student's timesteps.
        spec: of the evaluation.
        progress: `progress(done passes, all passes)`, called only where states are computed.

    Raises:
        EvaluationError: a state holds NaN or infinity.
    """
    count = min(spec.samples, spec.trajectory_samples)
    # Of each timestep: states and clean images of both, beside the teacher's trajectory.
    per_noise = 5 * len(student.timesteps) * 4 * math.prod(teacher.space.shape)
    size = max(_SMALLEST, _BYTES // per_noise)
    for first in range(0, count, size):
        rows = range(first, min(count, first + size))

        def told(done: int, total: int, before: int = first * solver.steps) -> None:
            progress(before + done, count * solver.steps)

        trajectory = teacher_trajectory(
            teacher,
            solver=solver,
            timesteps=student.timesteps,
            seed=spec.seed,
            rows=rows,
            root=spec.references,
            progress=told,
        )
        start = evaluation_part(teacher, spec.seed, rows)
        yield student_strips(student, start, trajectory, spec.device, teacher.conditions)
