"""Converts states `[B, C, H, W]` to grey or colour tiles `[B, h, w]` or `[B, h, w, 3]`, uint8.

One channel is grey, three are colours. Any other number is shown channel by channel, side by side in one tile.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from storage import Manifest, TrajectorySpec

Pixels = npt.NDArray[np.uint8]
PICTURE = (-1.0, 1.0)
"""The values of pixels that are black and white."""
_COLOURS = 3
_LATENT_SPREAD = 3.0


def _colours(places: tuple[int, ...], *channels: tuple[int, ...]) -> Pixels:
    made = np.stack([np.interp(np.arange(256), places, ends) for ends in channels], axis=1)
    return (made + 0.5).astype(np.uint8)


_HEAT = _colours((0, 128, 255), (0, 224, 255), (0, 96, 255), (0, 16, 255))
_SIGNED = _colours((0, 127, 128, 255), (59, 0, 0, 245), (125, 0, 0, 109), (250, 0, 0, 34))
"""256 colours `[256, 3]` each, which distinguish a difference from a picture."""


def latent(spec: TrajectorySpec) -> bool:
    """Whether states are no pictures, so that what is black and what is white is a matter of statistics."""
    return spec.space is not None or spec.sample_shape[0] not in (1, _COLOURS)


def value_range(manifest: Manifest, timestep: int) -> tuple[float, float]:
    """Returns what is black and white: -1 and 1 for pixels; for latents, the timestep's mean -+ 3 deviations."""
    if not latent(manifest.spec):
        return PICTURE
    known = manifest.statistics.get(timestep)
    mean, std = (known.mean, known.std or 1.0) if known else (0.0, 1.0)
    return mean - _LATENT_SPREAD * std, mean + _LATENT_SPREAD * std


def tile_size(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Returns width and height of the tile of a state `[C, H, W]`."""
    channels, height, width = shape
    if channels in (1, _COLOURS):
        return width, height
    columns = math.ceil(math.sqrt(channels))
    return columns * width, -(-channels // columns) * height


def largest_tile(spec: TrajectorySpec) -> tuple[int, int]:
    """Returns width and height of the largest tile of a store; a pyramid has smaller ones too."""
    return max(tile_size(spec.state_shape(t)) for t in spec.timesteps)


def tiles(states: npt.NDArray[Any], ends: tuple[float, float] = PICTURE) -> Pixels:
    """Converts states to pixels; values beyond the ends, black and white, are clipped."""
    values = states.astype(np.float32)
    values -= ends[0]
    values /= ends[1] - ends[0]
    # In place: a wall of large images is the most that a request takes.
    np.clip(values, 0, 1, out=values)
    values *= 255
    values += 0.5
    pixels: Pixels = values.astype(np.uint8)
    channels = states.shape[1]
    if channels == 1:
        return np.ascontiguousarray(pixels[:, 0])
    if channels == _COLOURS:
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return _mosaic(pixels)


def difference_tiles(apart: npt.NDArray[np.float32], most: float, *, signed: bool = False) -> Pixels:
    """Converts |difference| `[B, C, H, W]` to tiles `[B, h, w, 3]`: black at 0, then orange, white from `most` on.

    With its sign it is blue below 0 and orange above, brightest at `most`. Pictures show the mean over their channels,
    latents each channel.
    """
    picture = apart.shape[1] in (1, _COLOURS)
    shown = (apart.mean(axis=1) if picture else apart) / most
    shares = np.clip((shown + 1) / 2 if signed else shown, 0, 1)
    places = (shares * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray((_SIGNED if signed else _HEAT)[places if picture else _mosaic(places)])


def enlarged(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Repeats the pixels of tiles `[B, h, w, ...]` as often as a width and height hold them; the rest is black."""
    (width, height), (down, across) = size, pixels.shape[1:3]
    made = np.zeros((len(pixels), height, width, *pixels.shape[3:]), dtype=np.uint8)
    drawn = pixels.repeat(height // down, axis=1).repeat(width // across, axis=2)
    made[:, : drawn.shape[1], : drawn.shape[2]] = drawn
    return made


def _mosaic(pixels: Pixels) -> Pixels:
    count, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(channels))
    rows = -(-channels // columns)
    padded = np.zeros((count, rows * columns, height, width), dtype=np.uint8)
    padded[:, :channels] = pixels
    grid = padded.reshape(count, rows, columns, height, width).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(grid.reshape(count, rows * height, columns * width))
