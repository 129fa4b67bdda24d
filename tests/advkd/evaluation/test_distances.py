import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from advkd.evaluation.distances import (
    CURVE_STEPS,
    Worth,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    worth_steps,
)


def normal(count: int, dims: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(count, dims, generator=generator, dtype=torch.float64)


def test_frechet_distance_equals_scipy_on_the_moments() -> None:
    mix = torch.randn(16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x, y = normal(300, 16, 0), normal(250, 16, 1, shift=0.3) @ mix
    cx, cy = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(cx @ cy)
    expected = float(((x.mean(0) - y.mean(0)) ** 2).sum()) + np.trace(cx + cy - 2 * np.real(root))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_approaches_the_gaussian_closed_form() -> None:
    # N(0, I) against N(1, 4 I) in d dimensions: |m|^2 + d (2 - 1)^2.
    found = frechet_distance(normal(40_000, 4, 0), normal(40_000, 4, 1, scale=2.0, shift=1.0))
    assert found == pytest.approx(4 + 4, rel=0.02)


def test_frechet_distance_of_a_set_to_itself_is_zero_also_where_its_covariance_is_singular() -> None:
    x = normal(40, 64, 0)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0.0, abs=1e-5)


def test_frechet_distance_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="at least two samples, got 1 and 5"):
        frechet_distance(normal(1, 3, 0), normal(5, 3, 1))


def test_kernel_distance_is_the_unbiased_estimate_on_whole_sets() -> None:
    x, y = normal(60, 8, 0), normal(60, 8, 1, shift=0.5)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.T / 8 + 1) ** 3

    same = sum(float(k.sum() - k.trace()) for k in (kernel(x, x), kernel(y, y))) / (60 * 59)
    expected = same - 2 * float(kernel(x, y).mean())
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_repeats_and_leaves_the_global_generator_alone() -> None:
    x, y = normal(40, 4, 0), normal(30, 4, 1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = kernel_distance(x, y)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert kernel_distance(x, y) == first


def test_identical_sets_cover_each_other() -> None:
    x = normal(50, 8, 0)
    found = manifold_scores(x, x.flip(0))
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)


def test_disjoint_sets_do_not() -> None:
    found = manifold_scores(normal(50, 8, 0), normal(60, 8, 1, shift=100.0))
    assert (found.precision, found.recall, found.density, found.coverage) == (0.0, 0.0, 0.0, 0.0)


def test_a_collapsed_set_is_precise_but_recalls_little() -> None:
    reference = normal(300, 4, 0)
    collapsed = normal(300, 4, 1, scale=0.05)
    found = manifold_scores(collapsed, reference)
    assert found.precision == 1.0
    assert found.recall < 0.1


def test_precision_and_recall_swap_with_their_arguments() -> None:
    x, y = normal(80, 4, 0), normal(90, 4, 1, shift=0.8)
    forth, back = manifold_scores(x, y), manifold_scores(y, x)
    assert (forth.precision, forth.recall) == (back.recall, back.precision)
    assert 0.0 < forth.recall < 1.0


def test_manifold_scores_match_a_loop() -> None:
    fake, reference = normal(20, 3, 0), normal(25, 3, 1, shift=0.7)

    def radius(points: torch.Tensor, index: int) -> float:
        return sorted(float((points[index] - other).norm()) for other in points)[3]

    def inside(point: torch.Tensor, centres: torch.Tensor) -> int:
        return sum(float((point - c).norm()) <= radius(centres, i) for i, c in enumerate(centres))

    found = manifold_scores(fake, reference)
    assert found.precision == pytest.approx(sum(inside(f, reference) > 0 for f in fake) / 20)
    assert found.recall == pytest.approx(sum(inside(r, fake) > 0 for r in reference) / 25)
    assert found.density == pytest.approx(sum(inside(f, reference) for f in fake) / (3 * 20))
    covered = sum(any(float((f - r).norm()) <= radius(reference, i) for f in fake) for i, r in enumerate(reference))
    assert found.coverage == pytest.approx(covered / 25)


def test_nearest_neighbours_need_enough_samples() -> None:
    with pytest.raises(ValueError, match="3 nearest neighbours need more samples than that, got 3"):
        manifold_scores(normal(3, 2, 0), normal(9, 2, 1))


@given(steps=st.floats(1.0, 20.0), scale=st.floats(1e-3, 1e4), power=st.floats(0.2, 4.0))
def test_worth_is_exact_on_a_power_law(steps: float, scale: float, power: float) -> None:
    curve = {n: scale * n**-power for n in (*CURVE_STEPS, 50)}
    fd = min(max(scale * steps**-power, curve[20]), curve[1])
    found = worth_steps(curve, fd)
    assert not found.clamped
    assert found.steps == pytest.approx(steps, rel=1e-6)


def test_worth_is_clamped_at_both_ends_and_says_so() -> None:
    curve = {n: 100.0 / n for n in CURVE_STEPS}
    assert worth_steps(curve, 100.1) == Worth(1.0, clamped=True)
    assert worth_steps(curve, 100.0) == Worth(1.0, clamped=False)
    assert worth_steps(curve, 5.0) == Worth(pytest.approx(20.0), clamped=False)
    assert worth_steps(curve, 4.9) == Worth(20.0, clamped=True)
    assert worth_steps(curve, 0.0) == Worth(20.0, clamped=True)


def test_worth_on_a_curve_that_is_not_monotone_is_the_fewest_steps() -> None:
    curve = {1: 100.0, 2: 10.0, 4: 40.0, 5: 8.0, 10: 4.0, 20: 1.0}
    assert worth_steps(curve, 20.0).steps < 2.0


@pytest.mark.parametrize("fd", [math.nan, math.inf, -1.0])
def test_worth_of_a_distance_that_is_none(fd: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        worth_steps({n: 1.0 / n for n in CURVE_STEPS}, fd)


def test_worth_needs_the_whole_curve() -> None:
    with pytest.raises(ValueError, match=r"got none at \[5\]"):
        worth_steps({n: 1.0 / n for n in CURVE_STEPS if n != 5}, 0.3)
