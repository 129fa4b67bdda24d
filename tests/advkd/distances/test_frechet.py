import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from advkd.distances import FeatureSet, Moments, frechet_deviation, frechet_distance
from tests.advkd.distances.parts import gathered, normal


class Precomputed(nn.Identity):
    num_features = 16


def torchmetrics_distance(x: Tensor, y: Tensor) -> float:
    metric = FrechetInceptionDistance(Precomputed())
    metric.update(x.double(), real=False)
    metric.update(y.double(), real=True)
    return float(metric.set_dtype(torch.float64).compute())


def torch_fidelity_distance(x: Tensor, y: Tensor) -> float:
    """`torch_fidelity.metric_fid.fid_statistics_to_metric`, which is pytorch-fid's formula: scipy's `sqrtm`."""
    (mu1, sigma1), (mu2, sigma2) = ((np.mean(f, axis=0), np.cov(f, rowvar=False)) for f in (x.numpy(), y.numpy()))
    diff = mu1 - mu2
    covmean = np.real(scipy.linalg.sqrtm(sigma1.dot(sigma2)))
    return float(diff.dot(diff) + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(covmean))


def mixed(count: int, seed: int, shift: float = 0.3) -> Tensor:
    mix = torch.randn(16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return ((normal(count, 16, seed).double() + shift) @ mix).float()


@pytest.mark.parametrize("oracle", [torchmetrics_distance, torch_fidelity_distance])
def test_the_distance_is_that_of_others(oracle: object) -> None:
    x, y = normal(300, 16, 0), mixed(250, 1)
    assert frechet_distance(gathered(x), gathered(y)) == pytest.approx(oracle(x.double(), y.double()), rel=1e-7)  # type: ignore[operator]


def test_fewer_images_than_dimensions_give_the_distance_of_others() -> None:
    x, y = normal(12, 16, 0), mixed(10, 1)
    expected = torchmetrics_distance(x, y)
    assert frechet_distance(gathered(x), gathered(y)) == pytest.approx(expected, rel=1e-5)
    # One of the two has a covariance of full rank, or only statistics.
    wide = mixed(90, 2)
    expected = torchmetrics_distance(x, wide)
    assert frechet_distance(gathered(x), gathered(wide)) == pytest.approx(expected, rel=1e-5)
    statistics = FeatureSet(name="statistics", moments=gathered(x).moments, features=None)
    assert frechet_distance(statistics, gathered(wide)) == pytest.approx(expected, rel=1e-5)


def test_the_distance_of_gaussians_has_a_closed_form() -> None:
    # Of commuting covariances: |m|^2 + |C1^(1/2) - C2^(1/2)|^2.
    rotation = torch.linalg.qr(normal(4, 4, 0).double()).Q

    def gaussian(name: str, mean: list[float], spread: list[float]) -> FeatureSet:
        covariance = rotation @ torch.tensor(spread, dtype=torch.float64).square().diag() @ rotation.T
        moments = Moments(count=0, mean=torch.tensor(mean, dtype=torch.float64), covariance=covariance)
        return FeatureSet(name=name, moments=moments, features=None)

    a = gaussian("a", [0.0, 1.0, 0.0, 0.0], [1.0, 2.0, 3.0, 0.0])
    b = gaussian("b", [2.0, 1.0, 0.0, 1.0], [1.0, 1.0, 5.0, 0.5])
    assert frechet_distance(a, b) == pytest.approx(5.0 + 0.0 + 1.0 + 4.0 + 0.25, rel=1e-6)
    # Singular: its rounding is the root of float64's.
    assert frechet_distance(b, gaussian("c", [2.0, 1.0, 0.0, 1.0], [2.0, 1.0, 5.0, 0.5])) == pytest.approx(
        1.0, rel=1e-9
    )


def test_equal_sets_have_no_distance() -> None:
    x = normal(100, 16, 0)
    assert frechet_distance(gathered(x), gathered(x.clone())) == 0.0
    assert frechet_distance(gathered(x), gathered(x.flip(0))) == pytest.approx(0.0, abs=1e-12)
    few = normal(40, 64, 0)
    assert frechet_distance(gathered(few), gathered(few.flip(0))) == pytest.approx(0.0, abs=1e-5)


def test_the_distance_is_symmetric_and_blind_to_order() -> None:
    x, y = normal(200, 16, 0), mixed(300, 1)
    distance = frechet_distance(gathered(x), gathered(y))
    assert frechet_distance(gathered(y), gathered(x)) == pytest.approx(distance, rel=1e-9)
    shuffled = y[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    assert frechet_distance(gathered(x), gathered(shuffled)) == pytest.approx(distance, rel=1e-9)


def test_features_of_two_extractors_are_refused() -> None:
    with pytest.raises(ValueError, match="16 dimensions in student and 8 in teacher"):
        frechet_distance(gathered(normal(20, 16, 0), "student"), gathered(normal(20, 8, 0), "teacher"))
    with pytest.raises(ValueError, match="16 dimensions in student and 8 in teacher"):
        frechet_deviation(gathered(normal(20, 16, 0), "student"), gathered(normal(20, 8, 0), "teacher"))


def jackknife(values: list[float]) -> float:
    mean = sum(values) / 8
    return math.sqrt(7 / 8 * sum((value - mean) ** 2 for value in values))


def test_groups_are_left_out_of_both_sets_that_are_of_the_same_noises() -> None:
    x, y = normal(100, 4, 0), normal(100, 4, 1, shift=0.5)
    stay = [[i for i in range(100) if i % 8 != group] for group in range(8)]
    both = [frechet_distance(gathered(x[rows]), gathered(y[rows])) for rows in stay]
    assert frechet_deviation(gathered(x), gathered(y)) == pytest.approx(jackknife(both), rel=1e-9)


def test_groups_are_left_out_of_the_first_set_alone_where_the_other_is_of_other_noises() -> None:
    x, y = normal(100, 4, 0), normal(120, 4, 1, shift=0.5)
    stay = [[i for i in range(100) if i % 8 != group] for group in range(8)]
    first = [frechet_distance(gathered(x[rows]), gathered(y)) for rows in stay]
    assert frechet_deviation(gathered(x), gathered(y)) == pytest.approx(jackknife(first), rel=1e-9)
    statistics = FeatureSet(name="statistics", moments=gathered(y).moments, features=None)
    assert frechet_deviation(gathered(x), statistics) == pytest.approx(jackknife(first), rel=1e-6)


def test_the_deviation_is_that_of_the_distance_over_noises() -> None:
    # Of one dimension: the distance is nearly the squared difference of the means, whose deviation is known.
    shift, count = 3.0, 800
    deviations, distances = [], []
    reference = gathered(normal(50_000, 1, 99))
    for seed in range(24):
        fake = gathered(normal(count, 1, seed, shift=shift))
        distances.append(frechet_distance(fake, reference))
        deviations.append(frechet_deviation(fake, reference) or 0.0)
    # d(m^2) = 2 m dm with dm = 1 / sqrt(n).
    assert np.mean(deviations) == pytest.approx(2 * shift / math.sqrt(count), rel=0.15)
    assert np.std(distances) == pytest.approx(2 * shift / math.sqrt(count), rel=0.35)


def test_the_deviation_is_that_of_all_images_where_not_all_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(100, 4, 0), gathered(normal(120, 4, 1))
    of_kept = frechet_deviation(gathered(x), y)
    monkeypatch.setattr("advkd.distances.feature_set.KEPT", 100)
    larger = gathered(torch.cat([x, normal(300, 4, 2)]))
    y = gathered(normal(120, 4, 1))
    statistics = FeatureSet(name="statistics", moments=y.moments, features=None)
    scaled = frechet_deviation(larger, statistics)
    assert of_kept is not None
    assert scaled == pytest.approx(of_kept / 2, rel=1e-6)


def test_too_few_features_have_no_deviation() -> None:
    y = gathered(normal(50, 2, 0))
    assert frechet_deviation(gathered(normal(15, 2, 1)), y) is None
    assert frechet_deviation(gathered(normal(16, 2, 1)), y) is not None
    assert frechet_deviation(FeatureSet(name="statistics", moments=y.moments, features=None), y) is None


def test_the_same_deviation_in_many_dimensions_as_from_covariances() -> None:
    # 40 images of 64 dimensions: features stand for their covariance.
    x, y = normal(40, 64, 0), normal(40, 64, 1)
    stay = [[i for i in range(40) if i % 8 != group] for group in range(8)]
    statistics = [
        [FeatureSet(name="s", moments=gathered(part[rows]).moments, features=None) for part in (x, y)] for rows in stay
    ]
    expected = jackknife([frechet_distance(a, b) for a, b in statistics])
    assert frechet_deviation(gathered(x), gathered(y)) == pytest.approx(expected, rel=1e-4)
