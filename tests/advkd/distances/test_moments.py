from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advkd.distances import Moments
from tests.advkd.distances.parts import normal


def assert_same(a: Moments, b: Moments) -> None:
    assert a.count == b.count
    torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(a.covariance, b.covariance, rtol=1e-10, atol=1e-12)


def test_moments_are_those_of_numpy() -> None:
    x = normal(50, 6, 0, shift=2.0).double()
    moments = Moments.of(x)
    np.testing.assert_allclose(moments.mean.numpy(), x.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(x.numpy(), rowvar=False), rtol=1e-12)
    assert moments.mean.dtype == moments.covariance.dtype == torch.float64


@given(cuts=st.lists(st.integers(1, 59), min_size=1, max_size=5, unique=True), shift=st.floats(-1e3, 1e3))
def test_merged_parts_are_the_whole(cuts: list[int], shift: float) -> None:
    x = normal(60, 4, 1).double() + shift
    edges = [0, *sorted(cuts), 60]
    parts = [Moments.of(x[start:stop]) for start, stop in pairwise(edges)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    whole = Moments.of(x)
    assert merged.count == whole.count
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.covariance, whole.covariance, rtol=1e-9, atol=1e-9)


def test_merging_has_no_order() -> None:
    a, b = Moments.of(normal(20, 3, 0)), Moments.of(normal(31, 3, 1, shift=1.0))
    assert_same(a.merged(b), b.merged(a))


def test_moments_of_nothing_of_others_and_of_unknown_counts_are_refused() -> None:
    a = Moments.of(normal(20, 3, 0))
    with pytest.raises(ValueError, match=r"at least one sample, got \[0, 3\]"):
        Moments.of(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="same dimensions, got 3 and 4"):
        a.merged(Moments.of(normal(20, 4, 0)))
    with pytest.raises(ValueError, match="know their number of samples, got 0"):
        a.merged(Moments(count=0, mean=a.mean, covariance=a.covariance))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_moments_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="moments must be finite"):
        Moments(count=2, mean=torch.tensor([0.0, value]), covariance=torch.eye(2))


def test_moments_have_fitting_shapes() -> None:
    with pytest.raises(ValueError, match=r"got \[2\], \[3, 3\] and 4"):
        Moments(count=4, mean=torch.zeros(2), covariance=torch.eye(3))
