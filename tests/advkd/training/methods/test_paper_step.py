"""A step of the paper's method with its penalty, against the losses written down once more in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

from advkd.training.data import TrajectoryBatch
from advkd.training.methods.paper import PaperMethod
from advkd.training.methods.table import build_method
from storage.testing.trajectories import make_spec
from tests.advkd.optimizers.plain_muon import PlainAdam
from tests.advkd.training.methods.paper_runs import PYRAMID, tiny_paper

EVERY, WEIGHT, RATE, BETA = 3, 7.0, 1e-3, 0.5
TIGHT = {"rtol": 1e-7, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """What brings values to float32 leaves them in float64, so that every bound is one of rounding alone."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def in_float64() -> PaperMethod:
    """In its first phase, which lasts ten steps."""
    facts = make_spec(
        sampler="ddpm",
        deterministic=False,
        sample_shape=(1, 16, 16),
        timesteps=(999, 600, 300, 0),
        signal=(0.01, 0.3, 0.7, 1.0),
        sigma=(0.99, 0.9, 0.6, 0.0),
        resolutions=PYRAMID,
    )
    built = build_method(tiny_paper(samples=480, penalty_every=EVERY, penalty_weight=WEIGHT, beta1=BETA), facts)
    assert isinstance(built, PaperMethod)
    built.state.student.double()
    built.state.discriminator.double()
    return built


def batch() -> TrajectoryBatch:
    """States that leave [-1, 1], in which the student's lie."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(8, 1, 16, 16, generator=generator, dtype=torch.float64)
    sides = (8, 8, 16)
    return TrajectoryBatch(
        noise, tuple(2.0 * torch.randn(8, 1, s, s, generator=generator, dtype=torch.float64) for s in sides)
    )


def judgement(judge: nn.Module, coarse: Tensor, real: Tensor, fake: Tensor, share: Tensor | None) -> Tensor:
    """Non-saturating, and WGAN-GP's penalty, which counts for the steps that have none."""
    loss = nn.functional.softplus(judge(fake, coarse)).mean() + nn.functional.softplus(-judge(real, coarse)).mean()
    if share is None:
        return loss
    mixed = share.view(-1, 1, 1, 1)
    between = (mixed * real + (1 - mixed) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(judge(between, coarse).sum(), between, create_graph=True)
    return loss + WEIGHT * EVERY * (slope.square().sum((1, 2, 3)).sqrt() - 1).square().mean()


def test_whole_steps_with_and_without_a_penalty_are_those_of_the_losses() -> None:
    built, given, draws = in_float64(), batch(), torch.Generator().manual_seed(0)
    student, judge = copy.deepcopy(built.student), copy.deepcopy(built.state.discriminator[0])
    mine = PlainAdam({n: w.detach() for n, w in student.named_parameters()}, betas=(BETA, 0.999))
    theirs = PlainAdam({n: w.detach() for n, w in judge.named_parameters()}, betas=(BETA, 0.999))
    # Box means of unit normal noise, brought back to variance 1; the teacher's states as the head can give them.
    coarse = nn.functional.avg_pool2d(given.noise, 4) * 4.0
    real = given.states[0].clamp(-1, 1)
    for step in range(4):
        share = None if step % EVERY else torch.rand(8, generator=draws).double()
        fake = student.prediction(coarse, 0)
        game = nn.functional.softplus(-judge(fake, coarse)).mean()
        gradients = torch.autograd.grad(game, list(student.parameters()), retain_graph=True, allow_unused=True)
        loss = judgement(judge, coarse, real, fake.detach(), share)
        slopes = torch.autograd.grad(loss, list(judge.parameters()), allow_unused=True)
        losses = built.step(given)
        built.state.samples += 8
        assert losses.adversarial.item() == pytest.approx(game.item(), rel=1e-9)
        mine.step(dict(zip(mine.weights, gradients, strict=True)), RATE)
        theirs.step(dict(zip(theirs.weights, slopes, strict=True)), RATE)
        for network, plain in ((built.student, mine), (built.state.discriminator[0], theirs)):
            for name, weight in network.named_parameters():
                torch.testing.assert_close(weight.detach(), plain.weights[name], **TIGHT)
