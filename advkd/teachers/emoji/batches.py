"""Batches of emoji: drawn evenly over groups and motifs, mirrored and shifted, some without their group."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.teachers.emoji.data import EmojiImages, images_in
from advkd.teachers.emoji.groups import GROUPS

NULL = len(GROUPS)
"""The class that stands for none."""
SHIFT = 2
_DROPPED = 0.1


@dataclass(frozen=True)
class Batch:
    """Images `[B, 3, 32, 32]` in [-1, 1] and their classes, int64 `[B]`: a group, or `NULL`."""

    images: Tensor
    classes: Tensor


def draw_batch(data: EmojiImages, weights: Tensor, size: int, generator: torch.Generator) -> Batch:
    """Draws images by their weights.

    Half of those that may be are mirrored; each is shifted by up to two pixels on both axes, with white where it
    was; one in ten has no group.

    Args:
        data: images.
        weights: of each of them, float64 `[N]`.
        size: images in the batch.
        generator: of all that is drawn.
    """
    chosen = torch.multinomial(weights, size, replacement=True, generator=generator)
    mirrored = data.mirrored[chosen] & (torch.rand(size, generator=generator) < 0.5)
    down, right = torch.randint(-SHIFT, SHIFT + 1, (2, size), generator=generator)
    kept = torch.rand(size, generator=generator) >= _DROPPED
    pixels = moved(data.pixels[chosen], mirrored, down, right)
    return Batch(images_in(pixels), torch.where(kept, data.groups[chosen], NULL))


def moved(pixels: Tensor, mirrored: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Returns pixels `[B, C, H, W]`, uint8, mirrored where told, then shifted down and right, on white.

    Args:
        pixels: uint8 images.
        mirrored: bool `[B]`.
        down: int64 `[B]`, within `SHIFT`.
        right: int64 `[B]`, within `SHIFT`.
    """
    count, channels, height, width = pixels.shape
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    padded = torch.nn.functional.pad(pixels, (SHIFT,) * 4, value=255)
    rows = (torch.arange(height) + SHIFT - down[:, None])[:, None, :, None]
    columns = (torch.arange(width) + SHIFT - right[:, None])[:, None, None, :]
    return padded[torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None], rows, columns]
