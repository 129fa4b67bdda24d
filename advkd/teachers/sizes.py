"""The size of a teacher's states as part of its source: `SOURCE#sample_size=32`, or `32x48` for height and width.

For networks of which the config says `sample_size: null`.
Another size gives other states, so the fingerprint is another too.
"""

import re
from pathlib import Path
from typing import Protocol, runtime_checkable

from advkd.teachers.base import Teacher, derived_fingerprint
from advkd.teachers.errors import TeacherError

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


def read_size(place: str, text: str) -> Size:
    """Returns height and width of a size as it is written: `32`, or `32x48`.

    Raises:
        TeacherError: it is none.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise TeacherError(
            f"a size must be the side of the images, or HEIGHTxWIDTH, got {text!r}; write "
            f"`32`, as in `{place}#sample_size=32`"
        )
    return int(match[1]), int(match[2] or match[1])


def sized_fingerprint(fingerprint: str, size: Size) -> str:
    """Returns the fingerprint of a teacher with a size that its folder does not say."""
    return derived_fingerprint(fingerprint, f"sample_size {size[0]}x{size[1]}")


def require_sized(family: object, place: object) -> SizedFamily:
    """Returns the family, if its teachers take a size; raises `TeacherError` if they do not."""
    if isinstance(family, SizedFamily):
        return family
    raise TeacherError(
        f"a sample size is for pipelines whose UNet leaves it open (DDPMPipeline, DDIMPipeline, LDMPipeline), got one "
        f"for {place}; leave it out"
    )
