"""What a source says of a teacher besides its place: `SOURCE#prompts=FILE#size=512#guidance=7.5`, before a pin if any.

Each makes another teacher, with states of its own, so its fingerprint is another too. As part of the source they reach
every command and flow that takes a teacher: what is evaluated and repaired is asked as what was precomputed.

Guidance is classifier-free: Ho and Salimans 2022 (https://arxiv.org/abs/2207.12598); the scale is diffusers': 1 is no
guidance. A size is that of the images, in pixels: one side, or height x width.
"""

import math
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError

_OPTION = re.compile(r"#(guidance|prompts|size)=")
_SIZE = re.compile(r"([1-9]\d*)(?:x([1-9]\d*))?")


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The options of a source; None: not said.

    Attributes:
        guidance: scale, from 1 on.
        prompts: path or URI of a file with one prompt on each line.
        size: height and width of the images.
    """

    guidance: float | None = None
    prompts: str | None = None
    size: tuple[int, int] | None = None


@runtime_checkable
class GuidedTeacher(Protocol):
    """A teacher whose network was also trained without conditions, or takes a scale of guidance."""

    def guided(self, scale: float) -> Teacher:
        """Returns the teacher under a guidance scale above 1; they share the network."""


def split_options(place: str) -> tuple[str, TeacherOptions]:
    """Splits a source without its pin into its place and its options.

    Raises:
        TeacherError: an option is said twice, or its value is none.
    """
    place, *parts = _OPTION.split(place)
    said: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        if name in said:
            raise TeacherError(f"a source must say {name} once, got {said[name]!r} and {value!r}; leave one out")
        said[name] = value
    if said.get("prompts") == "":
        raise TeacherError(f"prompts must be in a file, got no name; write `{place}#prompts=prompts.txt`")
    return place, TeacherOptions(
        guidance=_scale(place, said["guidance"]) if "guidance" in said else None,
        prompts=said.get("prompts"),
        size=_size(place, said["size"]) if "size" in said else None,
    )


def _scale(place: str, text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 1 <= scale < math.inf:
        raise TeacherError(
            f"a guidance scale must be a number from 1 (no guidance) on, got {text!r}; write `{place}#guidance=4`"
        )
    return scale


def _size(place: str, text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise TeacherError(
            f"a size must be pixels of one side, or height x width, got {text!r}; write `{place}#size=512`"
        )
    return int(match[1]), int(match[2] or match[1])


def guided(teacher: Teacher, scale: float | None) -> Teacher:
    """Returns a teacher under a guidance scale; None and 1 mean the teacher as it is.

    Raises:
        TeacherError: the teacher knows no guidance.
    """
    if scale is None:
        return teacher
    if not isinstance(teacher, GuidedTeacher):
        raise TeacherError(
            f"guidance is for teachers that were also trained without a class (DiTPipeline) or prompt, got {scale:g} "
            f"for {teacher.name!r}; leave it out"
        )
    return teacher if scale == 1 else teacher.guided(scale)
