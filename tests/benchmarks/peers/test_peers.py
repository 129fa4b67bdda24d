"""Every peer on teachers whose flow is known: it learns the flow, or the colours, and is what its row says it is."""

import pytest
import torch

from advkd.students import LayerwiseStudent
from benchmarks.peers.loop import rate
from benchmarks.peers.network import TOLERANCE
from benchmarks.peers.protocol import Problem, check_problem
from benchmarks.peers.table import BASE, PEERS
from tests.benchmarks.peers.closed_form import Colours
from tests.benchmarks.peers.conftest import Make, error

PAIRED = {"ours": 0.3, "pairs": 0.3, "temporal": 0.35, "rectified": 0.35, "consistency": 0.5, "consistency-cached": 0.5}
"""Errors that two seconds must reach; 1 is that of the mean image of all classes."""


@pytest.mark.parametrize("name", PAIRED)
def test_it_learns_the_flow_of_classes_in_colour(name: str, problem: Make) -> None:
    asked = problem()
    trained = PEERS[name].train(asked)
    assert error(asked, trained) < PAIRED[name]
    assert trained.steps > 1


@pytest.mark.parametrize("name", ["adversarial", "released"])
def test_a_game_alone_finds_the_colour(name: str, problem: Make) -> None:
    asked = problem("colour")
    PEERS[name].check(asked)
    trained = PEERS[name].train(asked)
    teacher = asked.teacher
    assert isinstance(teacher, Colours)
    with torch.no_grad():
        images = trained.student(torch.randn(64, *teacher.space.shape, generator=torch.Generator().manual_seed(0)))
    assert (images.mean((0, 2, 3)) - teacher.colours.flatten()).abs().max() < 0.2


@pytest.mark.parametrize("name", [name for name in PEERS if name != "released"])
def test_it_takes_images_that_are_no_squares_and_have_no_class(name: str, problem: Make) -> None:
    asked = problem("wide_grey", seconds=0.1)
    PEERS[name].check(asked)
    trained = PEERS[name].train(asked)
    assert error(asked, trained) < float("inf")


@pytest.mark.parametrize("name", PEERS)
def test_it_has_our_parameters_and_ends_with_its_budget(name: str, problem: Make) -> None:
    asked = problem(seconds=0.2)
    trained = PEERS[name].train(asked)
    counted = sum(weight.numel() for weight in trained.student.parameters())
    assert abs(counted / asked.our_parameters - 1) <= TOLERANCE
    # The last step is begun within the budget.
    assert 0.2 <= trained.seconds < 0.2 + 2.0
    assert not trained.student.training


def test_the_base_is_our_student_by_its_own_recipe(problem: Make) -> None:
    trained = PEERS[BASE].train(problem(seconds=0.2))
    assert isinstance(trained.student, LayerwiseStudent)
    assert len(trained.student.timesteps) == 5


def test_passes_are_counted_where_the_teacher_is_asked(problem: Make) -> None:
    asked = problem(seconds=0.3)
    assert isinstance(asked.teacher, Colours)
    before = asked.teacher.passes
    trained = PEERS["consistency"].train(asked)
    assert trained.passes == asked.teacher.passes - before == trained.steps * asked.recipe.batch_size
    assert PEERS["consistency-cached"].train(asked).passes == 0


def test_the_rate_is_that_of_our_method(problem: Make) -> None:
    from benchmarks.peers.ours import Ours

    learner = Ours(problem())
    method = learner._method
    for share in (0.0, 0.05, 0.1, 0.5, 0.99):
        method.state.samples = int(share * method.spec.samples)
        rise = method.spec.rise_samples / method.spec.samples
        assert rate(share, rise) * method.spec.learning_rate == pytest.approx(
            method.learning_rate(), rel=0.02, abs=1e-5
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seconds": 0.0}, "a budget must be positive CPU seconds, got 0; give more")],
)
def test_a_problem_that_no_peer_solves_is_refused(changes: dict[str, float], words: str, problem: Make) -> None:
    with pytest.raises(ValueError, match=words):
        check_problem(problem(**changes))


def test_a_pyramid_is_refused_before_it_is_trained(problem: Make) -> None:
    asked: Problem = problem("wide_grey")
    with pytest.raises(ValueError, match="makes square images whose side is a power of two from 8 on, got 8x12"):
        PEERS["released"].check(asked)
