"""CMMD: maximum mean discrepancy of CLIP's embeddings under a Gaussian kernel; needs no Gaussian features.

Jayasumana et al. 2024, https://arxiv.org/abs/2401.09603, equation 4, with the authors' sigma and scale.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from advkd.distances.feature_set import FeatureSet, check_comparable

SIGMA = 10.0
SCALE = 1000.0
BLOCK = 1024


def maximum_mean_discrepancy(a: FeatureSet, b: FeatureSet) -> float | None:
    """Returns 1000 times the squared discrepancy (V-statistic, as the authors') of features of length 1, in float64.

    Returns:
        The distance, 0 for equal sets; None where a set has only statistics.

    Raises:
        ValueError: the features have different dimensions.
    """
    check_comparable(a, b)
    if a.features is None or b.features is None:
        return None
    x, y = normalize(a.features.double(), dim=1), normalize(b.features.double(), dim=1)
    # Rounding can give slightly negative values for equal sets.
    return max(0.0, SCALE * (_mean_kernel(x, x) + _mean_kernel(y, y) - 2.0 * _mean_kernel(x, y)))


def _mean_kernel(rows: Tensor, columns: Tensor) -> float:
    """Returns the mean of `exp(-|x - y|^2 / (2 sigma^2))` less 1, which cancels between the terms."""
    lengths, total = columns.square().sum(1), 0.0
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        squares = block.square().sum(1)[:, None] + lengths - 2.0 * block @ columns.T
        total += float(torch.expm1(-squares / (2.0 * SIGMA**2)).sum())
    return total / (len(rows) * len(columns))
