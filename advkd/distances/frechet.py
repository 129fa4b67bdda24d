"""The Frechet distance of two sets as Gaussians, and how far it moves with the noises.

Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6.
"""

import math
from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor

from advkd.distances.feature_set import FeatureSet, check_comparable
from advkd.distances.jackknife import GROUPS, jackknifed, without_group
from advkd.distances.moments import Moments


def frechet_distance(a: FeatureSet, b: FeatureSet) -> float:
    """Returns `|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))` in float64; 0 for equal sets.

    Raises:
        ValueError: the features have different dimensions.
    """
    check_comparable(a, b)
    return _distance(a.moments, b.moments, _whole(a), _whole(b))


def frechet_deviation(a: FeatureSet, b: FeatureSet, *, paired: bool | None = None) -> float | None:
    """Returns the standard deviation of the distance over other noises, from a delete-a-group jackknife.

    Image i is in group `i % 8`. A group is left out of both sets if they are of the same noises, otherwise only of `a`.

    Args:
        a: the set of the noises.
        b: the set it is compared with.
        paired: whether both are of the same noises; None: if they keep equally many features.

    Returns:
        The deviation for all images of `a`, so scaled by `sqrt(kept / count)` where not all features are kept. None
        if `a` keeps fewer than 16 features.
    """
    check_comparable(a, b)
    kept = 0 if a.features is None else len(a.features)
    if a.features is None or kept < 2 * GROUPS:
        return None
    alike = b.features is not None and len(b.features) == kept
    if paired and not alike:
        raise ValueError(
            f"sets of the same noises keep equally many features, got {kept} in {a.name} and "
            f"{0 if b.features is None else len(b.features)} in {b.name}; compare them as not paired"
        )
    both = alike if paired is None else paired
    rest_a = _without_groups(a.features)
    rest_b: Iterable[tuple[Moments, Tensor | None]] = [(b.moments, _whole(b))] * GROUPS
    if both and b.features is not None:
        rest_b = _without_groups(b.features)
    distances = [
        _distance(moments_a, moments_b, features_a, features_b)
        for (moments_a, features_a), (moments_b, features_b) in zip(rest_a, rest_b, strict=True)
    ]
    return jackknifed(distances) * math.sqrt(kept / a.count)


def _without_groups(features: Tensor) -> Iterator[tuple[Moments, Tensor | None]]:
    """Yields the moments without each of the groups, and the features where there are fewer than dimensions."""
    groups = [Moments.of(features[group::GROUPS]) for group in range(GROUPS)]
    for left_out in range(GROUPS):
        moments = reduce(Moments.merged, (group for each, group in enumerate(groups) if each != left_out))
        yield moments, without_group(features, left_out) if moments.count <= moments.dims else None


def _whole(features: FeatureSet) -> Tensor | None:
    """Returns the features if these are all."""
    return features.features if features.features is not None and len(features.features) == features.count else None


def _distance(a: Moments, b: Moments, all_a: Tensor | None, all_b: Tensor | None) -> float:
    if torch.equal(a.mean, b.mean) and torch.equal(a.covariance, b.covariance):
        return 0.0
    # Equation 6, with Tr (C1 C2)^(1/2) = sum of the singular values of F1 F2^T, where C = F^T F.
    product = _factor(a, all_a) @ _factor(b, all_b).T
    gram = product @ product.T if len(product) <= product.shape[1] else product.T @ product
    roots = torch.linalg.eigvalsh(gram).clamp_min(0.0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    # Rounding can give slightly negative values for sets that are nearly equal.
    return max(0.0, float(apart + a.covariance.trace() + b.covariance.trace() - 2.0 * roots))


def _factor(moments: Moments, features: Tensor | None) -> Tensor:
    """Returns F with `F^T F` the covariance, with as few rows as possible."""
    if features is not None and len(features) <= moments.dims:
        return (features.double() - moments.mean) / math.sqrt(moments.count - 1)
    lower, failed = torch.linalg.cholesky_ex(moments.covariance)
    if failed:
        values, vectors = torch.linalg.eigh(moments.covariance)
        lower = vectors * values.clamp_min(0.0).sqrt()
    factor: Tensor = lower.T
    return factor
