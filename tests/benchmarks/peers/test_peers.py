"""Every peer on teachers whose flow is known: it learns the flow, or the colours, and is what its row says it is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from advkd.presets import PRESETS
from advkd.students import LayerwiseStudent
from benchmarks.peers.loop import learned, rate
from benchmarks.peers.network import TOLERANCE, level_network
from benchmarks.peers.ours import Ours
from benchmarks.peers.protocol import PRESET, Problem, Trained, check_problem, our_network
from benchmarks.peers.table import BASE, PEERS
from benchmarks.peers.temporal import temporal_network
from tests.benchmarks.peers.closed_form import Colours
from tests.benchmarks.peers.conftest import Make, error, planned

pytestmark = pytest.mark.thorough

REACHED = {
    "ours": (60, 0.4),
    "pairs": (60, 0.4),
    "temporal": (60, 0.4),
    "rectified": (80, 0.4),
    "consistency": (220, 0.6),
    "consistency-cached": (220, 0.6),
}
"""Steps, and errors that they must reach; 1 is that of the mean image of all classes."""


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", REACHED)
def test_it_learns_the_flow_of_classes_in_colour(name: str, problem: Make) -> None:
    steps, reached = REACHED[name]
    asked = problem(steps=steps)
    trained = PEERS[name].train(asked)
    assert trained.steps == steps - 1
    assert error(asked, trained) < reached


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "steps"), [("adversarial", 120), ("released", 200)])
def test_a_game_alone_comes_nearer_to_the_colour(name: str, steps: int, problem: Make) -> None:
    before, after = (_off_colour(problem("colour", steps=count), name) for count in (2, steps))
    assert after < 0.6 * before


def _off_colour(asked: Problem, name: str) -> float:
    assert isinstance(asked.teacher, Colours)
    trained = PEERS[name].train(asked)
    with torch.no_grad():
        images = trained.student(torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    return float((images.mean((0, 2, 3)) - asked.teacher.colours.flatten()).abs().mean())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", [name for name in PEERS if name != "released"])
def test_it_takes_images_that_are_no_squares_and_have_no_class(name: str, problem: Make) -> None:
    asked = problem("wide_grey", steps=3)
    PEERS[name].check(asked)
    assert error(asked, PEERS[name].train(asked)) < float("inf")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", PEERS)
def test_a_seed_decides_all(name: str, problem: Make) -> None:
    first, again, other = (PEERS[name].train(problem(steps=5, seed=seed)) for seed in (0, 0, 1))
    assert _alike(first, again)
    assert not _alike(first, other)
    assert not first.student.training


def _alike(ours: Trained, theirs: Trained) -> bool:
    pairs = zip(ours.student.parameters(), theirs.student.parameters(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("source", ["digits", "tests.benchmarks.peers.closed_form:large"])
def test_networks_have_our_parameters(source: str) -> None:
    asked = planned(source)
    if source == "digits":
        assert asked.our_parameters == 153_776
    networks: list[nn.Module] = [our_network(asked), temporal_network(asked)]
    networks += [level_network(asked, levels) for levels in (16, 20, 10)]
    for network in networks:
        counted = sum(weight.numel() for weight in network.parameters())
        assert abs(counted / asked.our_parameters - 1) <= TOLERANCE
    for peer in PEERS.values():
        peer.check(asked)


@pytest.mark.usefixtures("small")
def test_the_base_is_our_student_by_its_own_recipe(problem: Make) -> None:
    trained = PEERS[BASE].train(problem(steps=3))
    assert isinstance(trained.student, LayerwiseStudent)
    assert len(trained.student.timesteps) == 5


@pytest.mark.usefixtures("small")
def test_the_base_plays_from_its_own_share_of_the_budget_on(problem: Make) -> None:
    asked = problem(steps=10)
    learner = Ours(asked)
    learned(asked, learner)
    # Steps at shares 0.1 to 0.9, of which those from 0.4 on have a discriminator.
    assert learner._method.state.adversarial_steps == 6


@pytest.mark.usefixtures("small")
def test_passes_are_counted_where_the_teacher_is_asked(problem: Make) -> None:
    asked = problem(steps=5)
    assert isinstance(asked.teacher, Colours)
    before = asked.teacher.passes
    trained = PEERS["consistency"].train(asked)
    assert trained.passes == asked.teacher.passes - before == 4 * 32
    assert PEERS["consistency-cached"].train(problem(steps=5)).passes == 0


@pytest.mark.usefixtures("small")
def test_the_rate_is_that_of_our_method(problem: Make) -> None:
    method = Ours(problem())._method
    rise = method.spec.rise_samples / method.spec.samples
    for share in (0.0, 0.05, 0.1, 0.5, 0.99):
        method.state.samples = int(share * method.spec.samples)
        expected = pytest.approx(method.learning_rate(), rel=0.02, abs=1e-4)
        assert rate(share, rise) * method.spec.learning_rate == expected


def test_what_no_peer_solves_is_refused_before_anything_is_trained(
    problem: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="a budget must be positive CPU seconds, got 0; give more"):
        check_problem(problem(steps=0))
    whole = PRESETS[PRESET]
    monkeypatch.setitem(PRESETS, PRESET, replace(whole, train=replace(whole.train, batch_size=512)))
    with pytest.raises(ValueError, match="hold a batch of 512 trajectories or more, got 256; raise --trajectories"):
        check_problem(problem())


def test_a_pyramid_of_no_square_is_refused(problem: Make) -> None:
    with pytest.raises(ValueError, match="makes square images whose side is a power of two from 8 on, got 8x12"):
        PEERS["released"].check(problem("wide_grey"))


def test_parameters_that_no_depth_matches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = planned("tests.benchmarks.peers.closed_form:colours")
    vars(asked)["our_parameters"] = 1000
    with pytest.raises(ValueError, match=r"must have our 1000 parameters within 5%, got .* leave the peer out"):
        level_network(asked, 16)
    with pytest.raises(ValueError, match=r"must have our 1000 parameters within 5%, got .* leave temporal out"):
        temporal_network(asked)
