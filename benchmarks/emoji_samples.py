"""Samples of the teacher `emoji`, group by group, for its pictures and figures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from advkd.diffusion import Labels, Start
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_noise, teacher_states
from advkd.teachers import AUTO, SolverSpec, Teacher, fitting_solver


def group_names(teacher: Teacher) -> Sequence[str]:
    """Returns the names of the teacher's classes.

    Raises:
        ValueError: it has no named classes.
    """
    facts = teacher.conditions.facts
    if facts is None or "names" not in facts:
        raise ValueError(
            f"a teacher of emoji must name its groups, got {facts} of {teacher.name!r}; choose another one"
        )
    return [str(name) for name in facts["names"]]


def sampled(teacher: Teacher, each: int, steps: int, seed: int = 0) -> Tensor:
    """Samples each group in turn: float32 `[groups * each, 3, 32, 32]`, by the best deterministic solver that fits."""
    assert isinstance(teacher.conditions, Labels)
    groups = torch.arange(teacher.conditions.classes).repeat_interleave(each)
    condition = teacher.conditions.tensors([{"label": int(group)} for group in groups])
    start = Start(evaluation_noise(seed, len(groups), teacher.space.shape), condition)
    solver = fitting_solver(SolverSpec(kind=AUTO, steps=steps), teacher)
    return teacher_states(teacher, start, solver, clean_timesteps(teacher, solver))[-1]
