"""What is done to images: whole numbers, grey to RGB, and resizing, against PIL and against TensorFlow 1's formula."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from advkd.features import FeatureError, FeatureExtractor, digits_extractor
from advkd.features.pictures import as_rgb, normalised, pil_resized, require_images, tf_bilinear, whole_numbers
from advkd.teachers.digits import digit_images
from tests.advkd.features.parts import noise_images


def test_whole_numbers_come_back_and_what_lies_outside_is_cut_off() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(whole_numbers(pixels.float() / 127.5 - 1), pixels, rtol=0, atol=0)
    assert whole_numbers(torch.tensor([-1.7, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("size", [299, 40, 20])
def test_tensorflow_s_bilinear_is_that_of_its_kernel(size: int) -> None:
    """`resize_bilinear_op.cc` with align_corners=False, pixel by pixel in float64."""
    images = torch.rand(1, 2, 32, 27, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 255
    source, expected = images.numpy(), np.zeros((1, 2, size, size))
    for row in range(size):
        y = row * 32 / size
        top, bottom = int(y), min(int(y) + 1, 31)
        for column in range(size):
            x = column * 27 / size
            left, right = int(x), min(int(x) + 1, 26)
            above = source[..., top, left] * (1 - x + left) + source[..., top, right] * (x - left)
            below = source[..., bottom, left] * (1 - x + left) + source[..., bottom, right] * (x - left)
            expected[..., row, column] = above * (1 - y + top) + below * (y - top)
    torch.testing.assert_close(tf_bilinear(images.float(), size).double().numpy(), expected, rtol=0, atol=5e-3)


def test_it_is_neither_torch_s_bilinear_nor_antialiased() -> None:
    images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    half_pixels = functional.interpolate(images, size=(31, 31), mode="bilinear", align_corners=False)
    assert (tf_bilinear(images, 31) - half_pixels).abs().max() > 0.1
    torch.testing.assert_close(tf_bilinear(images, 32), images[..., ::2, ::2], rtol=0, atol=0)


def test_pil_s_resizing_is_pil_s_and_rgb_is_not_mixed() -> None:
    pixels = whole_numbers(noise_images(2, 3, 33, 47))
    resized = pil_resized(pixels, (20, 24))
    whole = Image.fromarray(pixels[1].permute(1, 2, 0).numpy()).resize((24, 20), Image.Resampling.BICUBIC)
    torch.testing.assert_close(resized[1].permute(1, 2, 0), torch.from_numpy(np.array(whole)), rtol=0, atol=0)
    assert pil_resized(pixels[:0], (20, 24)).shape == (0, 3, 20, 24)


def test_what_has_the_size_already_is_not_resized_again() -> None:
    pixels = whole_numbers(noise_images(2, 3, 24, 24))
    once = pil_resized(pixels, (16, 16))
    assert torch.equal(pil_resized(once, (16, 16)), once)
    assert torch.equal(tf_bilinear(once.float(), 16), once.float())
    # Twice, by way of another size, is not once.
    assert not torch.equal(pil_resized(pil_resized(pixels, (20, 20)), (16, 16)), once)


def test_grey_images_are_repeated() -> None:
    grey = noise_images(2, 1, 4, 4)
    assert torch.equal(as_rgb(grey), torch.cat([grey] * 3, 1))
    colours = noise_images(2, 3, 4, 4)
    assert as_rgb(colours) is colours


def test_channels_are_normalised_each_by_its_own() -> None:
    pixels = torch.full((1, 3, 2, 2), 10.0)
    torch.testing.assert_close(
        normalised(pixels, (0.0, 5.0, 10.0), (1.0, 5.0, 2.0))[0, :, 0, 0], torch.tensor([10.0, 1, 0])
    )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 1, 16, 16, dtype=torch.uint8), r"images must be floats in \[-1, 1\], got torch\.uint8; divide"),
        (
            torch.full((1, 1, 16, 16), 255.0),
            r"must lie in \[-1, 1\], got whole numbers up to 255; divide pixels by 127",
        ),
    ],
    ids=["uint8", "pixels as floats"],
)
def test_pixels_are_no_images(images: torch.Tensor, message: str) -> None:
    for extractor in (
        digits_extractor(),
        FeatureExtractor("any", "f" * 64, 1, lambda given: given.mean((1, 2, 3))[:, None]),
    ):
        with pytest.raises(FeatureError, match=message):
            extractor(images)
    require_images(torch.ones(1, 1, 2, 2))
    require_images(torch.full((1, 1, 2, 2), 3.7))
    require_images(torch.zeros(0, 1, 2, 2))


def test_another_range_gives_other_features() -> None:
    """What a set in [0, 1] would look like: far from the same images, while two halves of the set are near."""
    digits, extractor = digit_images()[:400], digits_extractor()
    right, shifted = extractor(digits), extractor((digits + 1) / 2)
    spread = (right[::2].mean(0) - right[1::2].mean(0)).norm()
    assert (right.mean(0) - shifted.mean(0)).norm() > 5 * spread
