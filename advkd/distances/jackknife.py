"""A delete-a-group jackknife: how far a figure moves with its images.

Efron, Tibshirani 1993, "An Introduction to the Bootstrap", section 11.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GROUPS = 8
"""Image i is in group `i % GROUPS`."""


def without_group(features: Tensor, group: int) -> Tensor:
    """Returns the features `[N, D]` without those of a group."""
    return features[torch.arange(len(features)) % GROUPS != group]


def jackknifed(values: Sequence[float]) -> float:
    """Returns the standard deviation of a figure from its values without each of the groups."""
    mean = sum(values) / GROUPS
    return math.sqrt((GROUPS - 1) / GROUPS * sum((value - mean) ** 2 for value in values))
