import numpy as np
import pytest
from torch import Tensor

from advkd.distances import FeatureSet, maximum_mean_discrepancy
from tests.advkd.distances.parts import gathered, normal


def published_distance(x: Tensor, y: Tensor) -> float:
    """`cmmd.distance.mmd` of google-research, in numpy."""
    a, b = (f.double().numpy() / np.linalg.norm(f.double().numpy(), axis=1, keepdims=True) for f in (x, y))
    gamma = 1 / (2 * 10**2)

    def mean(p: np.ndarray, q: np.ndarray) -> float:
        squares = -2 * p @ q.T + np.diag(p @ p.T)[:, None] + np.diag(q @ q.T)[None, :]
        return float(np.mean(np.exp(-gamma * squares)))

    return 1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


@pytest.mark.parametrize("block", [7, 1024])
def test_the_distance_is_the_published_one(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.distances.cmmd.BLOCK", block)
    x, y = normal(50, 8, 0), normal(60, 8, 1, shift=0.5)
    distance = maximum_mean_discrepancy(gathered(x), gathered(y))
    assert distance == pytest.approx(published_distance(x, y), rel=1e-8)
    assert maximum_mean_discrepancy(gathered(y), gathered(x)) == pytest.approx(distance, rel=1e-9)


def test_equal_sets_have_no_distance_whatever_their_order_and_length() -> None:
    x = normal(50, 8, 0)
    assert maximum_mean_discrepancy(gathered(x), gathered(x.flip(0))) == pytest.approx(0.0, abs=1e-9)
    assert maximum_mean_discrepancy(gathered(x), gathered(4 * x)) == pytest.approx(0.0, abs=1e-6)


def test_statistics_have_no_discrepancy() -> None:
    x = gathered(normal(40, 4, 0))
    statistics = FeatureSet(name="statistics", moments=x.moments, features=None)
    assert maximum_mean_discrepancy(x, statistics) is None
    assert maximum_mean_discrepancy(statistics, x) is None
