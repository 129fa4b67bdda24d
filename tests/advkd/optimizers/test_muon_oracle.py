"""Muon against a second implementation, update by update: kernels, matrices and biases, float64 and float32."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from advkd.optimizers.muon import Muon
from tests.advkd.optimizers.plain_muon import PlainMuon, polynomial, turned

# Two kernels of one shape, which are stacked; one whose gradient stays away at times; tall, wide and square matrices.
SHAPES = {
    "kernel": (6, 4, 3, 3),
    "twin": (6, 4, 3, 3),
    "pausing": (6, 4, 3, 3),
    "tall": (30, 7),
    "wide": (5, 24),
    "square": (8, 8),
    "bias": (9,),
    "pausing bias": (9,),
    "scale": (),
}
RATES = (1e-2, 2e-2, 5e-3, 1e-3, 2e-2)


def weights(dtype: torch.dtype) -> dict[str, nn.Parameter]:
    """Of the sizes that networks have, so that what is subtracted is not lost in their last digits."""
    torch.manual_seed(0)
    return {name: nn.Parameter(0.1 * torch.randn(shape, dtype=dtype)) for name, shape in SHAPES.items()}


def gradients(dtype: torch.dtype, step: int) -> dict[str, Tensor | None]:
    """Of very different sizes, which must not matter to a kernel's update and must to its momentum."""
    torch.manual_seed(100 + step)
    size = 10.0 ** (step % 3 - 2)
    found: dict[str, Tensor | None] = {name: size * torch.randn(shape, dtype=dtype) for name, shape in SHAPES.items()}
    if step == 1:
        found |= {name: None for name in SHAPES if name.startswith("pausing")}
    return found


def moved(mine: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().double() - before[name] for name, value in mine.items()}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)], ids=str)
def test_every_update_is_the_plain_one(dtype: torch.dtype, tolerance: float, weight_decay: float) -> None:
    """Differences are measured in units of the learning rate: five iterations enlarge rounding by up to 500."""
    mine = weights(dtype)
    plain = PlainMuon({name: value.detach().double() for name, value in mine.items()}, weight_decay)
    optimizer = Muon(mine.values(), lr=1.0, weight_decay=weight_decay)
    for step, rate in enumerate(RATES):
        before = {name: value.detach().double().clone() for name, value in mine.items()}
        expected_before = {name: value.clone() for name, value in plain.weights.items()}
        given = gradients(dtype, step)
        for name, gradient in given.items():
            mine[name].grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        plain.step({name: None if one is None else one.double() for name, one in given.items()}, rate)
        ours, theirs = moved(mine, before), moved(plain.weights, expected_before)
        for name in SHAPES:
            assert theirs[name].any() == (given[name] is not None)
            torch.testing.assert_close(ours[name] / rate, theirs[name] / rate, rtol=0, atol=tolerance)


def test_the_state_is_the_plain_one() -> None:
    mine = weights(torch.float64)
    plain = PlainMuon({name: value.detach().clone() for name, value in mine.items()})
    optimizer = Muon(mine.values(), lr=1e-2)
    for step in range(3):
        given = gradients(torch.float64, step)
        for name, gradient in given.items():
            mine[name].grad = gradient
        optimizer.step()
        plain.step(given, 1e-2)
    for name, weight in mine.items():
        state = optimizer.state[weight]
        if weight.ndim >= 2:
            assert set(state) == {"momentum"}
            torch.testing.assert_close(state["momentum"], plain.momentum[name], rtol=1e-12, atol=0)
        else:
            assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
            assert state["step"].item() == plain.adam.count[name] == (2 if name.startswith("pausing") else 3)
            torch.testing.assert_close(state["exp_avg"], plain.adam.first[name], rtol=1e-12, atol=0)
            torch.testing.assert_close(state["exp_avg_sq"], plain.adam.second[name], rtol=1e-12, atol=0)


def test_a_first_update_has_the_size_of_adam_s() -> None:
    """In figures: one direction of singular value 1 moves by 0.2 sqrt(24) lr times five polynomials of 1."""
    weight = nn.Parameter(torch.zeros(4, 24, dtype=torch.float64))
    weight.grad = torch.zeros_like(weight)
    weight.grad[2, 5] = 3.0
    Muon([weight], lr=0.5).step()
    size = torch.ones((), dtype=torch.float64)
    for _ in range(5):
        size = polynomial(size)
    assert 0.6 < size < 1.25
    assert weight[2, 5].item() == pytest.approx(-0.5 * 0.2 * 24**0.5 * size.item(), rel=1e-5)
    assert weight.count_nonzero() == 1


def test_the_plain_one_turns_without_stretching() -> None:
    """The oracle itself: near an orthogonal matrix, with the matrix's own directions."""
    torch.manual_seed(0)
    for shape in ((4, 9), (9, 4)):
        matrix = torch.randn(shape, dtype=torch.float64)
        values = torch.linalg.svdvals(turned(matrix))
        assert ((values > 0.6) & (values < 1.25)).all()
        assert (turned(matrix) * matrix).sum() > 0
