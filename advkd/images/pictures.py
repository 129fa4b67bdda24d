"""From the bytes of a picture to an image in [-1, 1], by the one rule that every set of real images follows.

    orientation of the camera -> 8 bits, alpha on white -> L or RGB -> centre crop to the aspect -> Lanczos

Lanczos is PIL's, which is antialiased (Parmar et al. 2022, https://arxiv.org/abs/2104.11222). Pictures that already
have the size are not resampled.
"""

import io
import struct
import threading
import zlib
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
RULE = "alpha on white, centre crop to the aspect, PIL Lanczos in 8 bits, values x / 127.5 - 1"
"""The rule in words, for reports; a change of the rule changes it, and with it what is cached."""

MOST_BYTES = 64 * 2**20
MOST_PIXELS = 178_956_970
"""PIL's own bound against decompression bombs."""
MODES = {1: "L", 3: "RGB"}

EMPTY, HUGE, TRUNCATED, CORRUPT = "empty", "huge", "truncated", "corrupt"
"""Why a picture cannot be used."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# More pixels than that are decoded by one thread at a time.
_LARGE_PIXELS = 2**23
_LARGE = threading.Lock()


class BadPictureError(Exception):
    """A picture cannot be used; its argument is the reason."""

    @property
    def reason(self) -> str:
        """One of `EMPTY`, `HUGE`, `TRUNCATED`, `CORRUPT`."""
        return str(self.args[0])


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What is known of a picture that can be used."""

    width: int
    """Pixels, as it is shown."""
    height: int
    animated: bool
    """There are several frames; the first one is taken."""
    grey: bool
    """All pixels have three equal channels, whatever the mode."""


def picture_facts(data: bytes) -> PictureFacts:
    """Decodes a whole picture and returns what is known of it.

    Raises:
        BadPictureError: it is empty, has more than 64 MiB or 178 956 970 pixels (found before it is decoded), ends too
            early, or is no PNG, JPEG, WebP or BMP picture.
    """
    picture, animated = _decoded(data, "RGB")
    grey = picture.mode == "L" or _is_grey(picture)
    return PictureFacts(width=picture.width, height=picture.height, animated=animated, grey=grey)


def picture_image(data: bytes, shape: tuple[int, int, int]) -> Tensor:
    """Returns a picture as an image of the shape `[C, H, W]`, C 1 or 3, float32 in [-1, 1].

    Raises:
        BadPictureError: see `picture_facts`.
    """
    channels, height, width = shape
    picture, _ = _decoded(data, MODES[channels])
    box = crop(picture.width, picture.height, height, width)
    # `box` crops first: pixels outside of it leave no trace.
    if box != (0, 0, *picture.size):
        picture = picture.crop(box)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture.convert(MODES[channels]), dtype=np.float32).reshape(height, width, channels)
    return torch.from_numpy(pixels / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def crop(width: int, height: int, to_height: int, to_width: int) -> tuple[int, int, int, int]:
    """Returns the largest box of a picture, in its centre, that has the aspect of `to_height` to `to_width`."""
    if width * to_height > height * to_width:
        kept = max(1, round(height * to_width / to_height))
        left = (width - kept) // 2
        return left, 0, left + kept, height
    kept = max(1, round(width * to_height / to_width))
    top = (height - kept) // 2
    return 0, top, width, top + kept


def _decoded(data: bytes, mode: str) -> tuple[Image.Image, bool]:
    """Returns the first frame, L or RGB, and whether there are others; grey pictures stay L also where RGB is asked."""
    if not data:
        raise BadPictureError(EMPTY)
    if len(data) > MOST_BYTES:
        raise BadPictureError(HUGE)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > MOST_PIXELS:
                raise BadPictureError(HUGE)
            animated = getattr(picture, "n_frames", 1) > 1
            with _LARGE if pixels > _LARGE_PIXELS else nullcontext():
                picture.load()
                return _plain(ImageOps.exif_transpose(picture), mode), animated
    except Image.DecompressionBombError as error:
        raise BadPictureError(HUGE) from error
    except OSError as error:
        short = "truncated" in str(error) or "unrecognized data stream" in str(error)
        raise BadPictureError(TRUNCATED if short else CORRUPT) from error
    except (SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError) as error:
        raise BadPictureError(CORRUPT) from error


def _plain(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode.startswith("I"):
        # 16 bits: PIL would cut them off, not scale them.
        grey = np.asarray(picture).astype(np.float64) / 257.0
        return Image.fromarray(np.rint(grey.clip(0.0, 255.0)).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        picture = Image.new("RGB", clear.size, (255, 255, 255))
        picture.paste(clear, mask=clear.getchannel("A"))
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    # By way of RGB: palettes and CMYK have no luma of their own.
    return picture.convert("RGB").convert(mode)


def _is_grey(picture: Image.Image) -> bool:
    pixels = np.asarray(picture)
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
