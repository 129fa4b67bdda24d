import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advkd.images.pictures import BadPictureError, crop, picture_facts, picture_image
from tests.advkd.images.parts import encoded, pixels


def levels(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The 8-bit values of an image, [C, H, W]."""
    values = (picture_image(data, shape) + 1.0) * 127.5
    np.testing.assert_allclose(values.numpy(), np.rint(values.numpy()), atol=1e-4)
    return np.rint(values.numpy()).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP"])
def test_a_picture_of_the_size_is_not_resampled(format: str) -> None:
    array = pixels(0)
    options = {"lossless": True} if format == "WEBP" else {}
    np.testing.assert_array_equal(levels(encoded(array, format, **options), (3, 16, 16)), array.transpose(2, 0, 1))


def test_values_go_from_minus_one_to_one() -> None:
    image = picture_image(encoded(np.array([[0, 255], [128, 127]], np.uint8)), (1, 2, 2))
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, torch.tensor([[[-1.0, 1.0], [1 / 255, -1 / 255]]]))


def test_the_rule_is_that_of_pil() -> None:
    array = pixels(0, 60, 90)
    expected = Image.fromarray(array).crop((15, 0, 75, 60)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(levels(encoded(array), (3, 16, 16)), np.asarray(expected).transpose(2, 0, 1))
    grey = Image.fromarray(array).convert("L").crop((15, 0, 75, 60)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(levels(encoded(array), (1, 16, 16))[0], np.asarray(grey))


def test_fine_structure_is_averaged_and_not_sampled() -> None:
    board = np.indices((128, 128)).sum(0).astype(np.uint8) % 2 * 255
    assert np.ptp(levels(encoded(board), (1, 16, 16)).astype(int)) <= 2
    assert abs(int(levels(encoded(board), (1, 16, 16)).mean()) - 127) <= 1


def test_what_is_cropped_leaves_no_trace() -> None:
    array = np.zeros((32, 96, 3), np.uint8)
    array[:, :32], array[:, 64:] = 255, 255
    assert levels(encoded(array), (3, 16, 16)).max() == 0


@given(sizes=st.tuples(*[st.integers(1, 300)] * 4))
def test_a_crop_is_the_largest_box_of_the_aspect_in_the_centre(sizes: tuple[int, int, int, int]) -> None:
    width, height, to_height, to_width = sizes
    left, top, right, bottom = crop(*sizes)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    across, down = right - left, bottom - top
    assert (
        abs(across - down * to_width / to_height) <= 0.5
        or abs(down - across * to_height / to_width) <= 0.5
        or (1 in (across, down))
    )


def clear(mode: str, colour: object, alpha: list[int]) -> Image.Image:
    picture = Image.new(mode, (len(alpha), 1), colour)  # type: ignore[arg-type]
    picture.putalpha(Image.fromarray(np.array([alpha], np.uint8)))
    return picture


@pytest.mark.parametrize(
    ("mode", "colour", "level"), [("RGBA", (200, 0, 0, 0), [200, 0, 0]), ("LA", (100, 0), [100] * 3)]
)
def test_alpha_is_on_white(mode: str, colour: object, level: list[int]) -> None:
    values = levels(encoded(clear(mode, colour, [0, 128, 255])), (3, 1, 3))
    assert values[:, 0, 0].tolist() == [255, 255, 255]
    assert values[:, 0, 2].tolist() == level
    np.testing.assert_allclose(values[:, 0, 1], [255 + (one - 255) * 128 / 255 for one in level], atol=1)


def test_palettes_have_their_colours_and_their_transparency() -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 200, 100, 0, 5, 5, 5])
    picture.putdata([0, 1, 2])
    assert levels(encoded(picture), (3, 1, 3))[:, 0, :2].T.tolist() == [[10, 20, 30], [200, 100, 0]]
    assert levels(encoded(picture, transparency=1), (3, 1, 3))[:, 0, :2].T.tolist() == [[10, 20, 30], [255, 255, 255]]
    luma = np.asarray(picture.convert("RGB").convert("L"))
    np.testing.assert_array_equal(levels(encoded(picture), (1, 1, 3))[0], luma)


def test_a_colour_that_is_transparent_is_white() -> None:
    picture = Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))
    assert levels(encoded(picture, transparency=(9, 9, 9)), (3, 1, 2))[:, 0].T.tolist() == [[1, 2, 3], [255] * 3]


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_and_not_cut_off(channels: int) -> None:
    array = np.array([[0, 257, 32768, 65535, 65279]], np.uint16)
    values = levels(encoded(Image.fromarray(array)), (channels, 1, 5))
    assert (values == np.array([0, 1, 128, 255, 254])).all()


def test_two_levels_and_four_inks() -> None:
    two = Image.fromarray(np.array([[True, False]]))
    assert two.mode == "1"
    assert levels(encoded(two), (1, 1, 2)).tolist() == [[[255, 0]]]
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = levels(encoded(inks, "JPEG", quality=95), (3, 8, 8))
    assert red[0].min() > 245 > 10 > red[1:].max()


def test_a_picture_is_upright_as_its_camera_says() -> None:
    array = pixels(0, 4, 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(array, exif=exif)
    np.testing.assert_array_equal(levels(data, (3, 8, 4)), np.rot90(array, -1).transpose(2, 0, 1))
    assert (picture_facts(data).width, picture_facts(data).height) == (4, 8)


def test_grey_is_seen_whatever_the_mode() -> None:
    grey = pixels(0, channels=1)
    repeated = np.repeat(grey[..., None], 3, axis=2)
    for picture in (Image.fromarray(grey), Image.fromarray(repeated), Image.fromarray(grey).convert("P")):
        assert picture_facts(encoded(picture)).grey
        np.testing.assert_array_equal(levels(encoded(picture), (3, 16, 16)), repeated.transpose(2, 0, 1))
    repeated[3, 4, 1] ^= 1
    assert not picture_facts(encoded(repeated)).grey


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken(format: str) -> None:
    frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert picture_facts(data).animated
    assert not picture_facts(encoded(frames[0])).animated
    np.testing.assert_array_equal(levels(data, (3, 16, 16)), np.asarray(frames[0]).transpose(2, 0, 1))


def declared(width: int, height: int) -> bytes:
    """A PNG that says it is of some size, and holds nothing."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


GOOD = encoded(pixels(0, 64, 64))
JPEG = encoded(pixels(0, 64, 64), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (GOOD[: len(GOOD) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (GOOD[:60] + bytes(40) + GOOD[100:], "corrupt"),
        (b"no picture at all", "corrupt"),
        (GOOD[:20], "corrupt"),
        (encoded(pixels(0), "GIF"), "corrupt"),
        (declared(20_000, 20_000), "huge"),
    ],
    ids=["empty", "half a PNG", "half a JPEG", "overwritten", "text", "a header", "another format", "a bomb"],
)
def test_pictures_that_cannot_be_used_say_why(data: bytes, reason: str) -> None:
    for use in (picture_facts, lambda data: picture_image(data, (3, 8, 8))):
        with pytest.raises(BadPictureError) as raised:
            use(data)
        assert raised.value.reason == reason


def test_many_bytes_are_huge_before_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.images.pictures.MOST_BYTES", len(GOOD) - 1)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(BadPictureError, match="huge"):
        picture_facts(GOOD)


@given(data=st.data(), format=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP"]))
def test_damage_ends_in_an_image_or_in_a_reason(data: st.DataObject, format: str) -> None:
    damaged = bytearray(encoded(Image.fromarray(pixels(1, 24, 20)), format))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    try:
        image = picture_image(bytes(damaged[:end]), (3, 8, 8))
    except BadPictureError as error:
        reason = error.reason
    else:
        assert image.shape == (3, 8, 8)
        assert image.abs().max() <= 1.0
        return
    assert reason in ("empty", "huge", "truncated", "corrupt")
