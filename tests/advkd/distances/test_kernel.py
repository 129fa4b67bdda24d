import warnings

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from advkd.distances import FeatureSet, KernelDistance, kernel_distance
from tests.advkd.distances.parts import gathered, normal


class Precomputed(nn.Identity):
    num_features = 8


def torchmetrics_distance(x: Tensor, y: Tensor, seed: int, size: int) -> tuple[float, float]:
    with warnings.catch_warnings():
        # It says that it keeps all features.
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(Precomputed(), subsets=50, subset_size=size)
    metric.update(x.double(), real=False)
    metric.update(y.double(), real=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def measured(x: Tensor, y: Tensor, seed: int = 0) -> KernelDistance:
    distance = kernel_distance(gathered(x), gathered(y), seed)
    assert distance is not None
    return distance


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize(("count", "other"), [(60, 40), (1300, 1100)])
def test_the_distance_is_that_of_torchmetrics(seed: int, count: int, other: int) -> None:
    x, y = normal(count, 8, 0), normal(other, 8, 1, shift=0.2)
    mean, deviation = torchmetrics_distance(x, y, seed, min(1000, other))
    distance = measured(x, y, seed)
    assert distance.value == pytest.approx(mean, rel=1e-9)
    assert distance.deviation == pytest.approx(deviation, rel=1e-6)


def test_the_distance_is_the_unbiased_estimate_on_whole_sets() -> None:
    x, y = normal(60, 8, 0), normal(60, 8, 1, shift=0.5)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() @ b.double().T / 8 + 1) ** 3

    same = sum(float(k.sum() - k.trace()) for k in (kernel(x, x), kernel(y, y))) / (60 * 59)
    distance = measured(x, y)
    assert distance.value == pytest.approx(same - 2 * float(kernel(x, y).mean()), rel=1e-9)
    assert distance.deviation == 0.0


def test_whole_sets_have_no_order() -> None:
    x, y = normal(60, 8, 0), normal(60, 8, 1, shift=0.5)
    assert measured(x.flip(0), y).value == pytest.approx(measured(x, y).value, rel=1e-9)
    assert measured(y, x).value == pytest.approx(measured(x, y).value, rel=1e-9)


def test_the_distance_repeats_and_leaves_the_global_generator_alone() -> None:
    x, y = normal(40, 4, 0), normal(30, 4, 1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = measured(x, y)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert measured(x, y) == first
    assert measured(x, y, seed=1) != first


def test_statistics_have_no_kernel_distance() -> None:
    x = gathered(normal(40, 4, 0))
    statistics = FeatureSet(name="statistics", moments=x.moments, features=None)
    assert kernel_distance(x, statistics) is None
    assert kernel_distance(statistics, x) is None


def test_features_of_two_extractors_are_refused() -> None:
    with pytest.raises(ValueError, match="features of one extractor, got 4 dimensions in set and 3 in set"):
        kernel_distance(gathered(normal(20, 4, 0)), gathered(normal(20, 3, 0)))
