"""What tests of extractors share."""

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from advkd.diffusion import Pixels
from advkd.features import Asked
from tests.advkd.evaluation.parts import gaussian_teacher

DAISY, BELL_COTE = 985, 442
"""Classes of ImageNet that show what scikit-learn's two pictures show: a flower, and a temple's roof."""


def asked(channels: int = 3, size: int = 16, **changes: str | None) -> Asked:
    """As if for a teacher of images of this shape."""
    teacher = gaussian_teacher(shape=(1, 8, 8))
    teacher.space = Pixels((channels, size, size))
    return Asked(teacher=teacher, **changes)


def photographs() -> Tensor:
    """A temple and a flower, `[2, 3, 427, 640]` in [-1, 1]."""
    pixels = np.stack(load_sample_images().images).transpose(0, 3, 1, 2)
    return torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1.0


def noise_images(*shape: int, seed: int = 0) -> Tensor:
    """Random images in [-1, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
