"""Sprite sheets: many samples in one PNG, so a wall of a hundred needs one request, and a slider none."""

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from advkd.browse.display import Pixels
from advkd.browse.errors import RequestError
from advkd.browse.query import whole
from advkd.browse.store_view import Mark

MOST_SAMPLES = 256
MOST_PIXELS = 2**22
"""Most pixels of a sheet: 64 tiles of 256 x 256; a single tile may be larger."""


@dataclass(frozen=True)
class Sheet:
    """A PNG of tiles, row by row, and their places."""

    png: bytes
    columns: int
    width: int
    height: int
    marks: Mapping[int, Mark]
    """By sample number, why a tile is blank."""

    def to_json(self) -> dict[str, object]:
        """Returns, as plain JSON, what a page needs to cut out the tiles."""
        return {
            "columns": self.columns,
            "width": self.width,
            "height": self.height,
            "marks": {str(sample): mark.kind for sample, mark in self.marks.items()},
        }


def sheet_of(pixels: Pixels, marks: Mapping[int, Mark], columns: int | None = None) -> Sheet:
    """Makes a PNG of tiles `[N, h, w]` or `[N, h, w, 3]`."""
    height, width = pixels.shape[1:3]
    image = grid_of(pixels, columns)
    return Sheet(png_bytes(image), image.shape[1] // width, width, height, marks)


def grid_of(pixels: Pixels, columns: int | None) -> Pixels:
    """Arranges tiles `[N, h, w, ...]` in `columns` columns of one image; None: in about a square."""
    count, height, width = pixels.shape[:3]
    columns = columns or max(1, math.ceil(math.sqrt(count)))
    rows = max(1, -(-count // columns))
    padded = np.zeros((rows * columns, *pixels.shape[1:]), dtype=np.uint8)
    padded[:count] = pixels
    grid = np.moveaxis(padded.reshape(rows, columns, *pixels.shape[1:]), 2, 1)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, *pixels.shape[3:]))


def hatched(shape: tuple[int, ...]) -> Pixels:
    """Returns grey stripes, which a tile shows if its sample cannot be read."""
    down, across = np.indices(shape[:2])
    stripes = np.where((down + across) % 6 < 3, 96, 150).astype(np.uint8)
    return np.broadcast_to(stripes.reshape(*shape[:2], *(1,) * (len(shape) - 2)), shape)


def fitting_samples(width: int, height: int) -> int:
    """Returns the largest number of tiles of a size in a sheet: 100 for small ones, 1 for huge ones."""
    fitting = MOST_PIXELS // (width * height)
    return max(1, min(4, fitting), min(100, fitting // 4))


def first_samples(num_samples: int, most: int, tile: tuple[int, int]) -> int:
    """Returns how many of a store's first samples a page shows in a sheet: as many as fit, at most `most`."""
    width, height = tile
    return min(num_samples, most, max(1, MOST_PIXELS // (width * height)))


def require_fitting(count: int, columns: int | None, tile: tuple[int, int]) -> None:
    """Raises `RequestError` if a sheet of `count` tiles in `columns` columns has too many pixels."""
    width, height = tile
    cells = max(count, columns or 1)
    if cells > 1 and cells * width * height > MOST_PIXELS:
        most = max(1, MOST_PIXELS // (width * height))
        raise RequestError(
            f"a sheet of tiles of {width} x {height} must hold at most {most} of them, {MOST_PIXELS:,} pixels, got "
            f"{count} samples in {columns or 'any number of'} columns; ask for fewer"
        )


def parse_samples(text: str, num_samples: int) -> list[int]:
    """Parses `0-99` or `5,17,3`; raises `RequestError` for any other text, and for too many or unknown samples."""
    rule = f"samples must be numbers from 0 to {num_samples - 1}, as 0-99 or 5,17,3, at most {MOST_SAMPLES}"
    try:
        samples: Sequence[int]
        if "-" in text:
            first, last = (_number(part) for part in text.split("-"))
            if last - first >= MOST_SAMPLES:
                raise ValueError
            samples = range(first, last + 1)
        else:
            samples = [_number(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"{rule}, got {text[:40]!r}; ask for fewer, or in one of these forms") from None
    if not 0 < len(samples) <= MOST_SAMPLES:
        raise RequestError(f"{rule}, got {len(samples)}; ask for fewer")
    if min(samples) < 0 or max(samples) >= num_samples:
        raise RequestError(f"{rule}, got {max(samples)}; ask for one of them")
    return list(samples)


def _number(text: str) -> int:
    value = whole(text)
    if value is None:
        raise ValueError(text)
    return value


def png_bytes(image: npt.NDArray[np.uint8]) -> bytes:
    """Encodes `[h, w]` as a grey PNG, `[h, w, 3]` as one in colours: fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()
