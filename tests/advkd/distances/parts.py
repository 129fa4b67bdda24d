"""Sets of features with known distances."""

import torch
from torch import Tensor

from advkd.distances import FeatureSet, collected


def normal(count: int, dims: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (shift + scale * torch.randn(count, dims, generator=generator, dtype=torch.float64)).float()


def gathered(features: Tensor, name: str = "set") -> FeatureSet:
    return collected(name, features)
