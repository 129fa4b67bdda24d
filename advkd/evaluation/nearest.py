"""Memorisation check: for a few of the student's images, the real image that is nearest in the headline's features."""

from collections.abc import Sequence

import torch
from torch import Tensor

from advkd.distances import FeatureSet, spread
from advkd.evaluation.pictures import labelled_rows
from advkd.evaluation.real import RealFeatures

SHOWN = 8


def nearest_png(pictures: Tensor, features: FeatureSet, real: RealFeatures) -> bytes | None:
    """Draws the first images of the student above the real images that are nearest to them.

    Args:
        pictures: the student's first images, `[P, C, H, W]` in [-1, 1].
        features: of the student's images.
        real: the real images, in the same features; None is returned where only statistics of them are known.
    """
    if real.images is None or real.features.features is None or features.features is None:
        return None
    count = min(SHOWN, len(pictures))
    nearest = nearest_of(features.features[:count], real.features.features)
    rows = spread(real.images.count)
    theirs = torch.stack([real.images.image(int(rows[index])) for index in nearest])
    return labelled_rows((pictures[:count], theirs), ("student", f"nearest of {real.features.name}"))


def nearest_of(features: Tensor, others: Tensor) -> Sequence[int]:
    """Returns the number of the nearest of `[M, D]` for each of `[N, D]`."""
    return [int(number) for number in torch.cdist(features.float(), others.float()).argmin(1)]
