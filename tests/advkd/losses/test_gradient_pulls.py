"""One backward pass through a discriminator for both players: the gradients of two passes, a decided game included."""

import pytest
import torch
from torch import Tensor, nn

from advkd.losses import ADVERSARIAL, AdversarialLoss, gradient_penalty, pulls


def judge(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 1), nn.Flatten(0)).to(dtype)


def from_one_pass(name: str, network: nn.Module, real: Tensor, fake: Tensor) -> tuple[list[Tensor], Tensor]:
    fake = fake.clone().requires_grad_()
    logits = network(real), network(fake)
    pull = pulls(ADVERSARIAL[name], *logits)
    *weights, at_fake = torch.autograd.grad(logits, [*network.parameters(), fake], [pull.real, pull.fake])
    return weights, pull.toward_real(at_fake)


def from_two_passes(name: str, network: nn.Module, real: Tensor, fake: Tensor) -> tuple[list[Tensor], Tensor]:
    fake = fake.clone().requires_grad_()
    loss = ADVERSARIAL[name].discriminator(network(real), network(fake))
    weights = torch.autograd.grad(loss, list(network.parameters()))
    (toward_real,) = torch.autograd.grad(ADVERSARIAL[name].generator(network(real), network(fake)), fake)
    return list(weights), toward_real


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_both_gradients_are_those_of_the_losses(name: str) -> None:
    network = judge(torch.float64)
    real, fake = torch.randn(2, 5, 6, dtype=torch.float64)
    weights, toward_real = from_one_pass(name, network, real, fake)
    expected, expected_toward_real = from_two_passes(name, network, real, fake)
    assert toward_real.abs().min() > 0
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(toward_real, expected_toward_real, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
@pytest.mark.parametrize("margin", [-150.0, 150.0])
def test_a_decided_game_pulls_on_in_float32(name: str, margin: float) -> None:
    """A fake that is rejected with certainty moves the discriminator no more, and the student all the same."""
    network = judge(torch.float32)
    real, fake = torch.randn(2, 5, 6)
    with torch.no_grad():
        network[2].weight.mul_(1e-3)
        network[2].bias.zero_()
    shift = torch.full((5,), margin)
    leaf = fake.clone().requires_grad_()
    logits_real, logits_fake = network(real) + shift, network(leaf) - shift
    pull = pulls(ADVERSARIAL[name], logits_real, logits_fake)
    (at_fake,) = torch.autograd.grad(logits_fake, leaf, pull.fake, retain_graph=True)
    (expected,) = torch.autograd.grad(ADVERSARIAL[name].generator(logits_real.detach(), logits_fake), leaf)
    found = pull.toward_real(at_fake)
    assert found.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-12)


def test_losses_are_the_game_s() -> None:
    real, fake = torch.randn(2, 7)
    pull = pulls(ADVERSARIAL["relativistic"], real, fake)
    torch.testing.assert_close(pull.discriminator_loss, ADVERSARIAL["relativistic"].discriminator(real, fake))
    torch.testing.assert_close(pull.generator_loss, ADVERSARIAL["relativistic"].generator(real, fake))
    assert not pull.discriminator_loss.requires_grad


def patches(dtype: torch.dtype) -> nn.Module:
    """Nine logits for every sample, and a norm that mixes samples."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 1, 2)).to(dtype)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_a_pass_for_each_loss_serves_patches_and_mixed_samples(name: str) -> None:
    network = patches(torch.float64)
    real, fake = torch.randn(2, 5, 1, 6, 6, dtype=torch.float64)
    leaf = fake.clone().requires_grad_()
    logits = network(real), network(leaf)
    assert logits[0].shape == (5, 1, 3, 3)
    pull = pulls(ADVERSARIAL[name], *logits)
    toward_real = pull.backward(logits, leaf, list(network.parameters()), 0.5, apart=True)
    expected, expected_toward_real = from_two_passes(name, network, real, fake)
    found = [weight.grad for weight in network.parameters()]
    torch.testing.assert_close(found, [0.5 * gradient for gradient in expected], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(toward_real, expected_toward_real, rtol=1e-9, atol=1e-14)


def test_a_game_that_pulls_some_fakes_up_shares_a_pass_too() -> None:
    """Least squares: the discriminator wants each fake's logit at 0, from wherever it is."""
    game = AdversarialLoss(
        lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
        lambda real, fake: (fake - 1).square().mean(),
    )
    network = judge(torch.float64)
    real, fake = torch.randn(2, 5, 6, dtype=torch.float64)
    leaf = fake.clone().requires_grad_()
    network[2].bias.data.add_(0.25)
    logits = network(real), network(leaf)
    assert logits[1].min() < 0 < logits[1].max()
    found = pulls(game, *logits).backward(logits, leaf, list(network.parameters()))
    (expected,) = torch.autograd.grad(game.generator(network(real), network(leaf)), leaf)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_a_penalty_of_patches_is_that_of_their_mean() -> None:
    network, images = patches(torch.float64), torch.randn(4, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    network.eval()
    found = gradient_penalty(network(images), images)
    torch.testing.assert_close(found, gradient_penalty(network(images).mean((1, 2, 3)), images))
