"""Sets of real images with which teacher and student are compared: a named set, or a folder of pictures."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from advkd.evaluation.errors import EvaluationError
from advkd.features import DIGITS, Extractor, shows_digits
from advkd.teachers import Teacher
from storage.objects import join, list_objects, read_bytes

REAL_DIGITS = "real digits"
_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class RealImages:
    """A set of real images: its name in reports, its images `[N, C, H, W]` in [-1, 1], and their sha256."""

    name: str
    images: Tensor
    sha256: str


def real_images(real: str | None, extractor: Extractor, teacher: Teacher) -> RealImages | None:
    """Returns the real images with which an evaluation compares one extractor's features, None if there are none.

    Args:
        real: "digits" (scikit-learn's), or the URI of a folder of PNG or JPEG pictures of the teacher's shape; None:
            the digits if the extractor is that of digits and the teacher is an embedded one, else no set.
        extractor: extractor of the features.
        teacher: teacher that is compared with the set.

    Raises:
        EvaluationError: the folder has no pictures, or pictures of another shape.
        StoreError: the folder cannot be read.
    """
    if is_default(real, extractor, teacher) or real == DIGITS:
        return _digits(teacher)
    return None if real is None else _pictures(real, teacher)


def is_default(real: str | None, extractor: Extractor, teacher: Teacher) -> bool:
    """Returns whether the set is the digits extractor's default, which a reference's identity does not mention."""
    return real in (None, DIGITS) and extractor.name == DIGITS and shows_digits(teacher)


def _digits(teacher: Teacher) -> RealImages:
    from advkd.teachers.digits import digit_images

    return _checked(REAL_DIGITS, digit_images(), DIGITS, teacher)


def _pictures(uri: str, teacher: Teacher) -> RealImages:
    uris = [join(uri, entry.key) for entry in list_objects(uri) if entry.key.lower().endswith(_ENDINGS)]
    if not uris:
        raise EvaluationError(
            f"a set of real images is a folder with {', '.join(_ENDINGS)} pictures, got none in {uri}; give another one"
        )
    mode = {1: "L", 3: "RGB"}.get(teacher.space.image_shape[0])
    if mode is None:
        raise EvaluationError(
            f"pictures have 1 or 3 channels, got a teacher with {teacher.space.image_shape[0]}; evaluate without real "
            "images"
        )
    name = f"real {PurePath(urlsplit(uri).path).name}"
    sets = [_checked(name, _read(picture, mode)[None], picture, teacher) for picture in uris]
    return _checked(name, torch.cat([part.images for part in sets]), uri, teacher)


def _read(uri: str, mode: str) -> Tensor:
    try:
        with Image.open(io.BytesIO(read_bytes(uri))) as picture:
            pixels = np.asarray(picture.convert(mode), dtype=np.float32)
    except (UnidentifiedImageError, OSError) as error:
        raise EvaluationError(
            f"a set of real images must hold pictures, got something else in {uri}; remove it"
        ) from error
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1) / 127.5 - 1.0).permute(2, 0, 1)


def _checked(name: str, images: Tensor, place: str, teacher: Teacher) -> RealImages:
    if tuple(images.shape[1:]) != tuple(teacher.space.image_shape):
        raise EvaluationError(
            f"real images must have the shape {list(teacher.space.image_shape)} of the teacher's, got "
            f"{list(images.shape[1:])} in {place}; give others, or leave EvaluateSpec.real out"
        )
    data = images.contiguous().numpy()
    return RealImages(name, images, hashlib.sha256(data.tobytes()).hexdigest())
