"""Figures beside held-out trajectories: of the right samples and labels, and of none that a student has seen."""

import pytest
from torch import Tensor

from advkd.diffusion import Start
from advkd.evaluation.teacher_states import clean_timesteps, teacher_states
from advkd.teachers import SolverSpec
from benchmarks.peers.held_out import held_out_figures, trained_on_others
from tests.benchmarks.peers.closed_form import Means
from tests.benchmarks.peers.conftest import TRAJECTORIES, Make

COUNT = 96


def test_the_solver_itself_is_at_the_cache_and_one_that_ignores_labels_is_not(problem: Make) -> None:
    made = problem()
    teacher = made.teacher
    solver = SolverSpec(kind=made.facts.sampler, steps=made.facts.solver_steps)

    def solved(noise: Tensor, class_labels: Tensor) -> Tensor:
        start = Start(noise, {"class_labels": class_labels})
        return teacher_states(teacher, start, solver, clean_timesteps(teacher, solver))[-1]

    def unasked(noise: Tensor, class_labels: Tensor) -> Tensor:
        return solved(noise, 0 * class_labels)

    same, states = held_out_figures(solved, made, Means(), COUNT)
    wrong, _ = held_out_figures(unasked, made, Means(), COUNT)
    assert states.shape == (COUNT, *teacher.space.shape)
    # States of the cache are rounded.
    assert same["fd"] < 1e-3 < 0.1 < wrong["fd"]
    assert same["recall"] == 1.0 > wrong["recall"]
    assert "worth" not in same


def test_no_student_has_seen_them(problem: Make) -> None:
    made = problem()
    assert trained_on_others(made.recipe, made, COUNT).trajectories == TRAJECTORIES - COUNT


@pytest.mark.parametrize("count", [1, TRAJECTORIES - 63, TRAJECTORIES])
def test_too_few_or_too_many_are_refused(problem: Make, count: int) -> None:
    made = problem()
    assert made.recipe.batch_size == 64
    with pytest.raises(ValueError, match=f"between 2 and {TRAJECTORIES - 64} of {TRAJECTORIES} .*, got {count}; hold"):
        trained_on_others(made.recipe, made, count)
