"""The paper's method: phases, which weights move, resumption, the released faults, what is watched."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from advkd.discriminators import DcganDiscriminator
from advkd.students import ProgressiveStudent
from advkd.students.loading import load_student
from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import Processes
from advkd.training.loop import StepMetrics
from advkd.training.methods.paper import PaperMethod, phase_ends, target_state
from advkd.training.methods.paper_spec import RELEASED
from advkd.training.methods.table import build_method
from advkd.training.observation import observations_from_json
from storage import TrajectorySpec
from tests.advkd.training.methods.paper_runs import tiny_paper
from tests.advkd.training.test_loop import hashes, run


@pytest.fixture(scope="module")
def uninterrupted(
    pyramid_store: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[StepMetrics], dict[str, str], Path]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("paper")
    metrics = run(tiny_paper(), pyramid_store, out)
    return metrics, hashes(out), out


def method(pyramid_facts: TrajectorySpec, **changes: object) -> PaperMethod:
    built = build_method(tiny_paper(**changes), pyramid_facts)
    assert isinstance(built, PaperMethod)
    return built


def some_batch(full: bool = False, rows: int = 8) -> TrajectoryBatch:
    generator = torch.Generator().manual_seed(3)
    sides = [16] * 3 if full else [8, 8, 16]
    noise = torch.randn(rows, 1, 16, 16, generator=generator)
    return TrajectoryBatch(noise, tuple(torch.randn(rows, 1, s, s, generator=generator) for s in sides))


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


# -- phases -----------------------------------------------------------------------------------------------------------


def test_phase_k_lasts_k_parts() -> None:
    assert phase_ends(66, 11)[-1] == 66
    assert [end - begin for begin, end in zip((0, *phase_ends(660, 11)), phase_ends(660, 11), strict=False)] == [
        10 * (k + 1) for k in range(11)
    ]
    assert phase_ends(6, 3) == (1, 3, 6)
    with pytest.raises(ValueError, match=r"a step for each of its 3 phases, .* got 5 steps; see at least 6 batches"):
        phase_ends(5, 3)


def test_the_clock_says_the_phase(uninterrupted: tuple[list[StepMetrics], dict[str, str], Path]) -> None:
    metrics = uninterrupted[0]
    assert [step.phase for step in metrics] == [f"submodule {k} of 3" for k in [1] * 2 + [2] * 4 + [3] * 6]
    assert all(step.distillation == 0.0 and step.learning_rate == 1e-3 for step in metrics)
    assert all(step.adversarial > 0 and step.discriminator > 0 for step in metrics)


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_phase_moves_its_submodules_its_head_and_its_discriminator(pyramid_facts: TrajectorySpec, phase: int) -> None:
    built = method(pyramid_facts)
    built.state.samples = 8 * (0, 2, 6)[phase]
    student, judges = weights(built.state.student), weights(built.state.discriminator)
    for _ in range(2):
        built.step(some_batch())
    still = {name for name, value in weights(built.state.student).items() if torch.equal(value, student[name])}
    for name in student:
        _, k, *_ = name.split(".")
        moves = int(k) == phase if name.startswith("heads") else int(k) <= phase
        # BatchNorm takes the mean out again, so that a bias below it has no gradient but rounding.
        if not (moves and name.endswith("conv.bias")):
            assert (name not in still) == moves, name
    for name, value in weights(built.state.discriminator).items():
        assert torch.equal(value, judges[name]) == (int(name.split(".")[0]) != phase), name


def test_a_phase_begins_with_a_fresh_optimizer(pyramid_facts: TrajectorySpec) -> None:
    built = method(pyramid_facts)
    steps = []
    for _ in range(4):
        built.step(some_batch())
        built.state.samples += 8
        moments = built.state.student_optimizer.state.values()
        steps.append(max(int(slots["step"]) for slots in moments))
    assert steps == [1, 2, 1, 2]


def test_one_forward_of_the_student_per_step(pyramid_facts: TrajectorySpec) -> None:
    built = method(pyramid_facts)
    calls: list[int] = []
    built.student.submodules[0].register_forward_hook(lambda *_: calls.append(1))
    built.step(some_batch())
    assert len(calls) == 1


def test_the_gradients_are_those_of_the_two_losses(pyramid_facts: TrajectorySpec) -> None:
    """Against the losses written down once more, each with a forward pass of its own."""
    built = method(pyramid_facts, penalty_weight=0.0)
    batch, student, judge = some_batch(), built.student, built.state.discriminator[0]
    coarse = student.coarse(batch.noise)
    game = nn.functional.softplus(-judge(student.prediction(coarse, 0), coarse)).mean()
    expected = torch.autograd.grad(game, list(student.submodules[0].parameters()))
    fake, real = student.prediction(coarse, 0).detach(), batch.states[0].clamp(-1, 1)
    loss = nn.functional.softplus(judge(fake, coarse)).mean() + nn.functional.softplus(-judge(real, coarse)).mean()
    expected += torch.autograd.grad(loss, list(judge.parameters()))
    losses = built.step(batch)
    found = [weight.grad for weight in (*student.submodules[0].parameters(), *judge.parameters())]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(losses.adversarial, game.detach())
    torch.testing.assert_close(losses.discriminator, loss.detach())


def test_states_in_full_are_brought_to_the_side(pyramid_facts: TrajectorySpec) -> None:
    full = some_batch(full=True)
    state = full.states[0] * 3
    assert target_state(state, 8).shape == (8, 1, 8, 8)
    torch.testing.assert_close(target_state(state, 8), nn.functional.avg_pool2d(state, 2).clamp(-1, 1))
    torch.testing.assert_close(target_state(target_state(state, 16), 16), state.clamp(-1, 1))
    losses = method(replace(pyramid_facts, resolutions=None)).step(full)
    assert losses.adversarial.isfinite()


# -- resumption, parts, processes --------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("stops", [(24,), (16, 48), (8, 16, 24, 40, 56, 80)], ids=["once", "between phases", "often"])
def test_resumed_is_bit_identical_to_uninterrupted(
    uninterrupted: tuple[list[StepMetrics], dict[str, str], Path],
    pyramid_store: str,
    tmp_path: Path,
    stops: tuple[int, ...],
) -> None:
    for stop in stops:
        run(tiny_paper(), pyramid_store, tmp_path, stop)
    run(tiny_paper(), pyramid_store, tmp_path)
    assert hashes(tmp_path) == uninterrupted[1]


def test_another_seed_is_another_run(
    uninterrupted: tuple[list[StepMetrics], dict[str, str], Path], pyramid_store: str, tmp_path: Path
) -> None:
    run(tiny_paper(seed=1), pyramid_store, tmp_path)
    differing = {name for name, value in hashes(tmp_path).items() if uninterrupted[1][name] != value}
    assert differing == uninterrupted[1].keys() - {"config.json"}


@pytest.mark.thorough
def test_a_batch_in_parts_has_the_mean_of_its_parts_gradients(pyramid_facts: TrajectorySpec) -> None:
    """Parts have their own BatchNorm statistics, so two parts are two half batches, not one whole."""
    batch, whole = some_batch(), method(pyramid_facts, accumulate=2, penalty_weight=0.0)
    whole.step(batch)
    halves = []
    for part in batch.split(2):
        half = method(pyramid_facts, batch_size=4, penalty_weight=0.0)
        half.step(part)
        halves.append([w.grad for w in half.student.parameters() if w.grad is not None])
    found = [w.grad for w in whole.student.parameters() if w.grad is not None]
    for mine, one, other in zip(found, *halves, strict=True):
        torch.testing.assert_close(mine, (one + other) / 2, rtol=1e-4, atol=1e-7)


def test_two_processes_share_a_batch(pyramid_facts: TrajectorySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draws the shares of the whole batch, and has its own rows' of them."""
    monkeypatch.setattr(Processes, "average_", lambda self, tensors: list(tensors))
    (whole,) = method(pyramid_facts)._draw_shares([some_batch()])
    drawn = []
    for rank in (0, 1):
        built = build_method(tiny_paper(), pyramid_facts, Processes(rank, 2))
        assert isinstance(built, PaperMethod)
        drawn += built._draw_shares([some_batch(rows=4)])
    assert torch.equal(torch.cat(drawn), whole)


# -- the released faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [*({name: value} for name, value in RELEASED.items()), RELEASED, {"precision": "bfloat16"}], ids=str
)
def test_every_fault_runs_to_the_end(pyramid_store: str, tmp_path: Path, fault: dict[str, object]) -> None:
    metrics = run(tiny_paper(samples=48, **fault), pyramid_store, tmp_path)
    assert all(math.isfinite(value) for step in metrics for value in asdict(step).values() if value != step.phase)
    assert load_student(tmp_path)(torch.zeros(1, 1, 16, 16)).isfinite().all()


def test_what_the_student_is_trained_on(pyramid_facts: TrajectorySpec) -> None:
    noise = some_batch(rows=2048).noise
    assert method(pyramid_facts)._input(noise).std().item() == pytest.approx(1.0, abs=0.02)
    assert method(pyramid_facts, input_noise="clipped")._input(noise).std().item() < 0.2


def test_weights_are_clipped_on_demand(pyramid_facts: TrajectorySpec) -> None:
    for clip in (None, 0.01):
        built = method(pyramid_facts, weight_clip=clip)
        built.step(some_batch())
        largest = max(weight.abs().max().item() for weight in built.state.discriminator[0].parameters())
        assert (largest <= 0.01) == (clip is not None)


def test_the_discriminator_s_norm(pyramid_facts: TrajectorySpec) -> None:
    for norm, has in (("none", False), ("batch", True)):
        judges = method(pyramid_facts, discriminator_norm=norm).state.discriminator
        assert any(isinstance(part, nn.BatchNorm2d) for part in judges.modules()) == has


def test_the_penalty_is_taken_in_its_turn(pyramid_facts: TrajectorySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    import advkd.training.methods.paper as paper

    for every, taken in ((1, 4), (2, 2)):
        calls: list[int] = []
        real = paper.one_centred_penalty
        monkeypatch.setattr(
            paper, "one_centred_penalty", lambda *a, calls=calls, real=real: calls.append(1) or real(*a)
        )
        built = method(pyramid_facts, penalty_every=every)
        for _ in range(4):
            built.step(some_batch())
        assert len(calls) == taken
        monkeypatch.undo()


def test_the_discriminator_is_not_the_student_s(pyramid_facts: TrajectorySpec) -> None:
    state = method(pyramid_facts).state
    assert isinstance(state.student, ProgressiveStudent)
    assert all(isinstance(judge, DcganDiscriminator) for judge in state.discriminator)


def test_what_is_watched_are_the_submodules_in_training_and_their_input(pyramid_store: str, tmp_path: Path) -> None:
    """The released fault shows where training's input is compared with sampling's: at 16x16 it is a quarter of it."""
    seen = {}
    for noise in ("unit", "clipped"):
        out = tmp_path / noise
        run(tiny_paper(input_noise=noise, monitor_every=8), pyramid_store, out)
        seen[noise] = observations_from_json((out / "student" / "monitors.json").read_text())
    assert [len(one.submodules) for one in seen["unit"]] == [1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    # The phase's discriminator has not played yet in the instant between two phases.
    assert seen["unit"][1].submodules[1].margin is None
    assert all(one.submodules[0].margin is not None for one in seen["unit"])
    assert all(0.8 < one.input_std < 1.2 for one in seen["unit"])
    assert all(one.input_std < 0.35 for one in seen["clipped"])
