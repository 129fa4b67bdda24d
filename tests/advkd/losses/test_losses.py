"""Losses against their formulas, and what they do to a toy game."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advkd.losses import ADVERSARIAL, gradient_penalty, interpolated, one_centred_penalty, pseudo_huber

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=6)


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (2, 3, 8, 2)])
def test_pseudo_huber_is_its_formula(shape: tuple[int, ...]) -> None:
    difference = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size = math.prod(shape[1:])
    c = 0.00054 * math.sqrt(size)
    expected = [(math.sqrt(float(d.square().sum()) + c * c) - c) / math.sqrt(size) for d in difference]
    torch.testing.assert_close(
        pseudo_huber(difference).double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_pseudo_huber_is_an_error_per_pixel_and_smooth_at_zero() -> None:
    """A constant offset d gives about |d| whatever the image size; the gradient at zero is zero."""
    for size in (4, 32):
        assert pseudo_huber(torch.full((1, 1, size, size), 0.5)).item() == pytest.approx(0.5 - 0.00054, abs=1e-4)
    zero = torch.zeros(2, 1, 4, 4, requires_grad=True)
    pseudo_huber(zero).sum().backward()
    assert torch.equal(zero.grad, torch.zeros_like(zero))


@given(real=LOGITS)
def test_relativistic_game_is_symmetric(real: list[float]) -> None:
    """The generator's loss is the discriminator's with the roles exchanged, and only the difference counts."""
    game, a = ADVERSARIAL["relativistic"], torch.tensor(real, dtype=torch.float64)
    b = a.flip(0) * 0.5 + 1.0
    torch.testing.assert_close(game.generator(a, b), game.discriminator(b, a))
    torch.testing.assert_close(game.discriminator(a + 3.0, b + 3.0), game.discriminator(a, b))
    assert game.discriminator(a, a).item() == pytest.approx(math.log(2.0))


@pytest.mark.thorough
@given(pairs=st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=5))
def test_games_are_their_formulas(pairs: list[tuple[float, float]]) -> None:
    real, fake = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    mean = len(pairs)
    expected = {
        "relativistic": (
            sum(softplus(f - r) for r, f in pairs) / mean,
            sum(softplus(r - f) for r, f in pairs) / mean,
        ),
        "non-saturating": (
            sum(softplus(-r) + softplus(f) for r, f in pairs) / mean,
            sum(softplus(-f) for _, f in pairs) / mean,
        ),
        "hinge": (
            sum(max(0.0, 1 - r) + max(0.0, 1 + f) for r, f in pairs) / mean,
            -sum(f for _, f in pairs) / mean,
        ),
        "wgan": (sum(f - r for r, f in pairs) / mean, -sum(f for _, f in pairs) / mean),
    }
    assert set(expected) == set(ADVERSARIAL)
    for name, (discriminator, generator) in expected.items():
        assert ADVERSARIAL[name].discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-9, abs=1e-7)
        assert ADVERSARIAL[name].generator(real, fake).item() == pytest.approx(generator, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_gradients_have_the_right_sign(name: str) -> None:
    real, fake = torch.tensor([0.2, -0.3], requires_grad=True), torch.tensor([0.1, 0.4], requires_grad=True)
    on_real, on_fake = torch.autograd.grad(ADVERSARIAL[name].discriminator(real, fake), (real, fake))
    assert (on_real < 0).all()
    assert (on_fake > 0).all()
    (toward,) = torch.autograd.grad(ADVERSARIAL[name].generator(real, fake), fake)
    assert (toward < 0).all()


def test_gradient_penalty_of_a_linear_discriminator() -> None:
    """D(x) = <w, x> has gradient w everywhere: the penalty is |w|^2 / 2 and its gradient is w."""
    weight = torch.randn(12, dtype=torch.float64, requires_grad=True)
    images = torch.randn(5, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(images.flatten(1) @ weight, images)
    assert penalty.item() == pytest.approx(0.5 * weight.square().sum().item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, weight.detach(), rtol=1e-6, atol=1e-7)


def test_gradient_penalty_of_a_quadratic_discriminator() -> None:
    """D(x) = x' A x / 2 with symmetric A has gradient A x: the penalty is the mean of |A x|^2 / 2."""
    root = torch.randn(4, 4, dtype=torch.float64)
    matrix = root + root.T
    images = torch.randn(6, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    flat = images.flatten(1)
    penalty = gradient_penalty(0.5 * torch.einsum("bi,ij,bj->b", flat, matrix, flat), images)
    expected = 0.5 * (flat.detach() @ matrix).square().sum(1).mean()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 4.0])
def test_one_centred_penalty_of_a_linear_discriminator(scale: float) -> None:
    """D(x) = <w, x>: the penalty is (|w| - 1)^2 and its gradient 2 (|w| - 1) w / |w|; at w = 0 it is finite."""
    direction = torch.randn(12, generator=torch.Generator().manual_seed(0))
    weight = (scale * direction / direction.norm()).requires_grad_()
    images = torch.randn(5, 3, 2, 2, requires_grad=True)
    penalty = one_centred_penalty(images.flatten(1) @ weight, images)
    assert penalty.item() == pytest.approx((scale - 1.0) ** 2, abs=1e-6)
    (gradient,) = torch.autograd.grad(penalty, weight)
    expected = 2.0 * (scale - 1.0) * direction / direction.norm() if scale else torch.zeros(12)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_interpolates_lie_between_and_are_leaves() -> None:
    real, fake = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2, requires_grad=True)
    between = interpolated(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert between.is_leaf
    assert between.requires_grad
    assert between[:, 0, 0, 0].tolist() == [0.0, 0.25, 1.0]


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
def test_a_toy_generator_finds_the_mean_of_the_data(name: str) -> None:
    """2-D points, a generator that only shifts, a small network with R1 and R2: the shift becomes the data's mean."""
    torch.manual_seed(0)
    game, target = ADVERSARIAL[name], torch.tensor([1.5, -1.0])
    shift = nn.Parameter(torch.zeros(2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    slow = torch.optim.Adam([shift], lr=0.02, betas=(0.0, 0.99))
    fast = torch.optim.Adam(judge.parameters(), lr=0.02, betas=(0.0, 0.99))
    trail: list[Tensor] = []
    for _ in range(250):
        noise = torch.randn(64, 2)
        real, fake = (noise + target).requires_grad_(), noise + shift
        judged = fake.detach().requires_grad_()
        on_real, on_fake = judge(real).squeeze(1), judge(judged).squeeze(1)
        penalty = gradient_penalty(on_real, real) + gradient_penalty(on_fake, judged)
        fast.zero_grad()
        (game.discriminator(on_real, on_fake) + 0.1 * penalty).backward()
        fast.step()
        slow.zero_grad()
        game.generator(judge(real).squeeze(1), judge(fake).squeeze(1)).backward()
        slow.step()
        trail.append(shift.detach().clone())
    settled = torch.stack(trail[-100:]).mean(0)
    assert torch.linalg.vector_norm(settled - target) < 0.35


@pytest.mark.parametrize("name", sorted(ADVERSARIAL))
@given(angle=st.floats(0, 2 * math.pi), distance=st.floats(0.1, 5.0))
def test_the_adversarial_gradient_points_from_the_student_s_mean_to_the_teacher_s(
    name: str, angle: float, distance: float
) -> None:
    """2-D unit Gaussians m apart: the best discriminator's logit is <m, x> + c, so the descent is along m exactly."""
    apart = distance * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    noise = torch.randn(256, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    # log N(x; m, 1) - log N(x; 0, 1)
    on_real, on_fake = ((x @ apart - 0.5 * apart.square().sum()) for x in (noise + apart, noise + shift))
    (gradient,) = torch.autograd.grad(ADVERSARIAL[name].generator(on_real, on_fake), shift)
    torch.testing.assert_close(-gradient / gradient.norm(), apart / distance, rtol=0, atol=1e-9)
