"""Our PNGs against Pillow, which reads them."""

import io

import numpy as np
import pytest
from PIL import Image

from advkd.browse.sheets import png_bytes


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 20), (1, 1, 3), (17, 5, 3), (64, 64, 3)])
@pytest.mark.parametrize("kind", ["noise", "flat", "rising"])
def test_every_pixel_comes_back(shape: tuple[int, ...], kind: str) -> None:
    made = {
        "noise": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        "flat": np.full(shape, 255, dtype=np.uint8),
        "rising": np.arange(np.prod(shape), dtype=np.uint8).reshape(shape),
    }[kind]
    read = Image.open(io.BytesIO(png_bytes(made)))
    assert read.mode == ("L" if len(shape) == 2 else "RGB")
    np.testing.assert_array_equal(np.asarray(read), made)


def test_a_view_that_is_not_contiguous_is_read_as_it_looks() -> None:
    whole = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    part = whole[::2, 5:25]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(part)))), part)
