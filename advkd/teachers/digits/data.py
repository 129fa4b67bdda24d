"""scikit-learn's handwritten digits as 16x16 images: the data of the embedded teacher and of its metrics.

These 1797 real images (UCI ML hand-written digits, test part) ship with scikit-learn, so nothing is downloaded.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

RESOLUTION = 16
SHAPE = (1, RESOLUTION, RESOLUTION)


def digit_images() -> Tensor:
    """Returns all images: float32 `[1797, 1, 16, 16]` in [-1, 1], enlarged bicubically from 8x8."""
    pixels = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 8.0 - 1.0
    size = (RESOLUTION, RESOLUTION)
    return torch.nn.functional.interpolate(pixels, size, mode="bicubic", align_corners=False).clamp_(-1.0, 1.0)


def digit_labels() -> Tensor:
    """Returns the digit of each image: int64 `[1797]`."""
    return torch.from_numpy(load_digits().target).long()
