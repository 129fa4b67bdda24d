"""Whether a student and a teacher belong together."""

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from advkd.diffusion import Pixels
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.teacher_states import solver_grid_for
from advkd.students import AnyStudent
from advkd.teachers import SolverSpec, Teacher

SCHEDULE_TOLERANCE = 1e-4


def check_pair(
    student: AnyStudent, teacher: Teacher, solver: str | None = None, steps: int | None = None
) -> SolverSpec:
    """The solver that passes through the student's timesteps; a pair that does not belong together is refused.

    Raises:
        EvaluationError: other shape, latents or conditions, no solver's grid that starts at the first of its timesteps
            and holds all of them, or other noise levels.
    """
    if student.sample_shape != teacher.space.shape:
        raise EvaluationError(
            f"student and teacher must have states of one shape, got {_by(student.sample_shape)} from the student and "
            f"{_by(teacher.space.shape)} from teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    pixels = Pixels(student.sample_shape).facts
    our_space, their_space = student.config.get("space") or pixels, teacher.space.facts
    if our_space != their_space:
        raise EvaluationError(
            f"student and teacher must have states of one space, got {_told(our_space)} in the student and "
            f"{_told(their_space)} in teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    ours_told, theirs_told = student.config.get("conditioning"), teacher.conditions.facts
    if ours_told != theirs_told:
        raise EvaluationError(
            f"student and teacher must have the same conditions, got {_told(ours_told)} in the student and "
            f"{_told(theirs_told)} in teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    found, grid = solver_grid_for(teacher, solver, student.timesteps, steps)
    theirs = list(grid.sigma)
    ours = list(student.config["sigma"])
    if max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) > SCHEDULE_TOLERANCE:
        raise EvaluationError(
            f"student and teacher must have one noise schedule, got sigma {_rounded(ours)} in the student and "
            f"{_rounded(theirs)} in teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    return found


def check_targets(teacher: Teacher, solver: str | None, timesteps: Sequence[int], steps: int | None) -> None:
    """Refuses timesteps of a student that the evaluation could not compute its teacher's states at.

    Raises:
        EvaluationError: no solver's grid starts at the first of them and holds all.
    """
    solver_grid_for(teacher, solver, timesteps, steps)


def _told(conditioning: Mapping[str, Any] | None) -> str:
    return "none" if conditioning is None else shorten(json.dumps(conditioning, sort_keys=True), 120)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
