"""How well two sets cover each other, from the balls around their features, and how far that moves with the noises.

Precision and recall: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1 and 2. Density and
coverage: Naeem et al. 2020, https://arxiv.org/abs/2002.09797, equations 2 and 3.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from advkd.distances.feature_set import FeatureSet, check_comparable
from advkd.distances.jackknife import GROUPS, jackknifed, without_group

NEIGHBOURS = 3
BLOCK = 1024
JACKKNIFED = 2048
"""Features of each set by which deviations are estimated, for all of many would take minutes."""
ROUNDING = 1e-12
"""Squared distances below this share of the squared lengths are rounding: float32 features differ by more, or not."""


@dataclass(frozen=True, kw_only=True)
class ManifoldScores:
    """Scores of how well two sets cover each other."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(fake: FeatureSet, reference: FeatureSet, neighbours: int = NEIGHBOURS) -> ManifoldScores | None:
    """Computes precision, recall, density and coverage from the kept features, in blocks of 1024 rows.

    Precision is the share of fakes within the ball of a reference sample, recall the share of reference samples within
    the ball of a fake. The radius of a ball is the distance of its centre to its k-th nearest neighbour in its own set.

    Returns:
        The scores; None where a set has only statistics.

    Raises:
        ValueError: a set keeps no more features than `neighbours`, or the dimensions differ.
    """
    check_comparable(fake, reference)
    if fake.features is None or reference.features is None:
        return None
    smallest = min(len(fake.features), len(reference.features))
    if smallest <= neighbours:
        raise ValueError(f"{neighbours} nearest neighbours need more samples than that, got {smallest}; evaluate more")
    return _scores(fake.features, reference.features, neighbours)


def manifold_deviations(fake: FeatureSet, reference: FeatureSet, *, paired: bool) -> ManifoldScores | None:
    """Estimates the scores' standard deviations over other noises, by a delete-a-group jackknife.

    Image i is in group `i % 8`; at most the first 2048 of each set count. Radii change by jumps, so the estimate is
    mostly too large: for Gaussian sets 0.9 to 1.9 times the deviation over seeds.

    Args:
        fake: the set of the noises.
        reference: the set it is compared with.
        paired: whether both are of the same noises, so that a group is left out of both.

    Returns:
        The deviations for all images of `fake`, scaled by `sqrt(used / count)`; None where a set has only statistics,
        or fewer than 16 features.
    """
    if fake.features is None or reference.features is None:
        return None
    fakes, references = fake.features[:JACKKNIFED], reference.features[:JACKKNIFED]
    if min(len(fakes), len(references)) < 2 * GROUPS:
        return None
    rest = []
    for group in range(GROUPS):
        others = without_group(references, group) if paired else references
        rest.append(asdict(_scores(without_group(fakes, group), others, NEIGHBOURS)))
    share = (len(fakes) / fake.count) ** 0.5
    return ManifoldScores(**{name: share * jackknifed([each[name] for each in rest]) for name in rest[0]})


def _scores(fake: Tensor, reference: Tensor, neighbours: int) -> ManifoldScores:
    # Near the origin, differences of squares lose the least.
    centre = reference.double().mean(0)
    fakes, references = fake.double() - centre, reference.double() - centre
    fake_radii, reference_radii = _radii(fakes, neighbours), _radii(references, neighbours)
    precise = torch.zeros(len(fakes), dtype=torch.bool)
    recalled, covered, inside = 0, 0, 0
    for start, between in _distances(references, fakes):
        in_reference_ball = between <= reference_radii[start : start + len(between), None]
        precise |= in_reference_ball.any(0)
        recalled += int((between <= fake_radii).any(1).sum())
        covered += int(in_reference_ball.any(1).sum())
        inside += int(in_reference_ball.sum())
    return ManifoldScores(
        precision=precise.double().mean().item(),
        recall=recalled / len(references),
        density=inside / (neighbours * len(fakes)),
        coverage=covered / len(references),
    )


def _distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields the start of each block of rows and its distances to all columns, float32; 0 for equal features."""
    lengths = columns.square().sum(1)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        scale = block.square().sum(1)[:, None] + lengths
        squares = scale - 2.0 * block @ columns.T
        squares[squares <= ROUNDING * scale] = 0.0
        yield start, squares.sqrt_().float()


def _radii(features: Tensor, neighbours: int) -> Tensor:
    # The nearest neighbour is the sample itself.
    return torch.cat([block.kthvalue(neighbours + 1, dim=1).values for _, block in _distances(features, features)])
