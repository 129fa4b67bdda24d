"""The kernel distance (KID): squared maximum mean discrepancy under a cubic kernel, over random subsets.

Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, section 4. Subsets are those that torchmetrics draws.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.distances.feature_set import FeatureSet, check_comparable

SUBSETS = 50
SUBSET_SIZE = 1000
BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """The mean over the subsets, and the standard deviation between them (0 if every subset is the whole set)."""

    value: float
    deviation: float


def kernel_distance(a: FeatureSet, b: FeatureSet, seed: int = 0) -> KernelDistance | None:
    """Returns the unbiased squared discrepancy of features under `(x y / D + 1)^3`, in float64.

    Args:
        a: one set.
        b: the other one; its subsets are drawn first.
        seed: seed of the 50 subsets of 1000 features of each set, or fewer if a set keeps fewer.

    Returns:
        The distance; None where a set has only statistics.

    Raises:
        ValueError: the features have different dimensions.
    """
    check_comparable(a, b)
    if a.features is None or b.features is None:
        return None
    size = min(SUBSET_SIZE, len(a.features), len(b.features))
    generator = torch.Generator().manual_seed(seed)
    # Which features are in which subset: [50, N] of zeros and ones, so that every kernel is computed once.
    members_a = torch.zeros(SUBSETS, len(a.features), dtype=torch.float64)
    members_b = torch.zeros(SUBSETS, len(b.features), dtype=torch.float64)
    for subset in range(SUBSETS):
        members_b[subset, torch.randperm(len(b.features), generator=generator)[:size]] = 1.0
        members_a[subset, torch.randperm(len(a.features), generator=generator)[:size]] = 1.0
    x, y = a.features.double(), b.features.double()
    # Equation 4: a sample is not compared with itself.
    within = _sums(x, x, members_a, members_a) - members_a @ _self_kernel(x)
    within += _sums(y, y, members_b, members_b) - members_b @ _self_kernel(y)
    values = within / (size * (size - 1)) - 2.0 * _sums(x, y, members_a, members_b) / size**2
    deviation = 0.0 if size == len(x) == len(y) else float(values.std(unbiased=False))
    return KernelDistance(value=float(values.mean()), deviation=deviation)


def _sums(rows: Tensor, columns: Tensor, row_members: Tensor, column_members: Tensor) -> Tensor:
    """Returns for each subset the sum of the kernel over its rows and columns, `[50]`, in blocks of rows."""
    total = torch.zeros(SUBSETS, dtype=torch.float64)
    for start in range(0, len(rows), BLOCK):
        kernel = (rows[start : start + BLOCK] @ columns.T / rows.shape[1] + 1.0) ** 3
        total += ((kernel @ column_members.T).T * row_members[:, start : start + BLOCK]).sum(1)
    return total


def _self_kernel(features: Tensor) -> Tensor:
    return (features.square().sum(1) / features.shape[1] + 1.0) ** 3
