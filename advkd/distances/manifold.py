"""How well two sets cover each other, from the balls around their features.

Precision and recall: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1 and 2. Density and
coverage: Naeem et al. 2020, https://arxiv.org/abs/2002.09797, equations 2 and 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.distances.feature_set import FeatureSet, check_comparable

NEIGHBOURS = 3
BLOCK = 1024
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
    # Near the origin, differences of squares lose the least.
    centre = reference.features.double().mean(0)
    fakes, references = fake.features.double() - centre, reference.features.double() - centre
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
