"""What extractors do to images before their network sees them: whole numbers, grey to RGB, and three ways to resize.

Whole numbers are those of a picture of 8 bits: an image is judged as it would be saved.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from advkd.features.errors import FeatureError

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def require_images(images: Tensor) -> None:
    """Refuses what are no images in [-1, 1]: integers, and floats that are plainly those of [0, 255].

    Raises:
        FeatureError: see above.
    """
    if not images.is_floating_point():
        raise FeatureError(
            f"images must be floats in [-1, 1], got {images.dtype}; divide pixels by 127.5 and subtract 1"
        )
    if images.numel() and images.min() >= 0 and images.max() > 1 and bool((images == images.round()).all()):
        raise FeatureError(
            f"images must lie in [-1, 1], got whole numbers up to {float(images.max()):g}; divide pixels by 127.5 and "
            "subtract 1"
        )


def whole_numbers(images: Tensor) -> Tensor:
    """Returns the pixels of images in [-1, 1]: uint8, what lies outside is cut off."""
    return ((images.float() + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8)


def as_rgb(images: Tensor) -> Tensor:
    """Returns images `[B, 3, H, W]`; grey ones `[B, 1, H, W]` are repeated."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def tf_bilinear(images: Tensor, size: int) -> Tensor:
    """Resizes float images `[B, C, H, W]` to `[B, C, size, size]` as TensorFlow 1 does: bilinear, no antialiasing.

    `resize_bilinear` with align_corners=False: output pixel i lies at i * (input / output), with no half pixel.
    """
    rows, columns = (_lines(length, size, images) for length in images.shape[2:])
    (top, bottom, down), (left, right, across) = rows, columns
    upper, lower = images[:, :, top], images[:, :, bottom]
    across = across[None, None, None]
    above = upper[..., left] + (upper[..., right] - upper[..., left]) * across
    below = lower[..., left] + (lower[..., right] - lower[..., left]) * across
    return above + (below - above) * down[None, None, :, None]


def pil_resized(pixels: Tensor, size: tuple[int, int], resample: Image.Resampling = BICUBIC) -> Tensor:
    """Resizes uint8 images `[B, C, H, W]` to `[B, C, *size]` by PIL, which antialiases; of this size they stay."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    if len(pixels) == 0:
        return pixels.new_zeros(0, pixels.shape[1], *size)
    height, width = size
    resized = [
        np.stack([np.asarray(Image.fromarray(plane).resize((width, height), resample)) for plane in image])
        for image in pixels.cpu().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).to(pixels.device)


def normalised(pixels: Tensor, mean: Sequence[float] | float, deviation: Sequence[float] | float) -> Tensor:
    """Returns `(pixels - mean) / deviation` for each channel, float32."""
    shape = (1, -1, 1, 1)
    centre, scale = (torch.tensor(value, device=pixels.device).reshape(shape) for value in (mean, deviation))
    return (pixels.float() - centre) / scale


def _lines(length: int, size: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The neighbours of each output line, and its way from the first to the second."""
    places = torch.arange(size, dtype=torch.float32, device=like.device) * torch.tensor(length / size)
    low = places.long()
    return low, (low + 1).clamp_max(length - 1), places - low
