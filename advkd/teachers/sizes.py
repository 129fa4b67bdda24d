"""The size of a teacher's states as part of its source: `SOURCE#sample_size=32`, or `32x48` for height and width.

For networks of which the config says `sample_size: null`. Goes before a guidance scale and a pin, if there are such.
Another size gives other states, so the fingerprint is another too.
"""

import hashlib
import re
from pathlib import Path
from typing import Protocol, runtime_checkable

from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError

_MARK = "#sample_size="
_SIZE = re.compile(r"([1-9][0-9]{0,5})(?:x([1-9][0-9]{0,5}))?")

Size = tuple[int, int]


@runtime_checkable
class SizedFamily(Protocol):
    """A family whose networks take states of several sizes."""

    def load_sized(self, folder: Path, name: str | None, device: str, size: Size) -> Teacher:
        """Loads the teacher in a folder for states of this height and width; see `Family.load`.

        Raises:
            TeacherError: the folder says the size, and it is another one.
        """


def sized(source: str, text: str) -> str:
    """Adds a size to a source, before its guidance scale and its pin.

    Raises:
        TeacherError: the source says a size already.
    """
    place, mark, rest = source.partition("#")
    if mark and _MARK in f"{mark}{rest}":
        raise TeacherError(
            f"a teacher's states have one size, got {source!r} and --sample-size {text}; say it in one of both"
        )
    return f"{place}{_MARK}{text}{mark}{rest}"


def split_size(place: str) -> tuple[str, Size | None]:
    """Splits a place and its size (height, width), None if it says none.

    Raises:
        TeacherError: the size is none.
    """
    place, marker, text = place.partition(_MARK)
    if not marker:
        return place, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise TeacherError(
            f"a sample size must be the side of the images, or HEIGHTxWIDTH, got {text!r}; write `{place}{_MARK}32`"
        )
    return place, (int(match[1]), int(match[2] or match[1]))


def sized_fingerprint(fingerprint: str, size: Size) -> str:
    """Returns the fingerprint of a teacher with a size that its folder does not say."""
    return hashlib.sha256(f"{fingerprint} sample_size {size[0]}x{size[1]}".encode()).hexdigest()


def require_sized(family: object, place: object) -> SizedFamily:
    """Returns the family, if its teachers take a size; raises `TeacherError` if they do not."""
    if isinstance(family, SizedFamily):
        return family
    raise TeacherError(
        f"a sample size is for pipelines whose UNet leaves it open (DDPMPipeline, DDIMPipeline, LDMPipeline), got one "
        f"for {place}; leave it out"
    )
