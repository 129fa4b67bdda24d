"""Classifier-free guidance as part of a teacher's source: `SOURCE#guidance=4`, before a pin if there is one.

A guided teacher is another teacher, with states of its own, so its fingerprint is another too. Ho and Salimans 2022
(https://arxiv.org/abs/2207.12598); the scale is diffusers': 1 is no guidance.
"""

import math
from typing import Protocol, runtime_checkable

from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError

_MARK = "#guidance="


@runtime_checkable
class GuidedTeacher(Protocol):
    """A teacher whose network was also trained without conditions."""

    def guided(self, scale: float) -> Teacher:
        """Returns the teacher under a guidance scale above 1; they share the network."""


def split_guidance(place: str) -> tuple[str, float | None]:
    """Splits a place and its guidance scale, None if it says none.

    Raises:
        TeacherError: the scale is no finite number from 1 on.
    """
    place, marker, text = place.partition(_MARK)
    if not marker:
        return place, None
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 1 <= scale < math.inf:
        raise TeacherError(
            f"a guidance scale must be a number from 1 (no guidance) on, got {text!r}; write `{place}{_MARK}4`"
        )
    return place, scale


def with_guidance(place: str, scale: float) -> str:
    """Adds a guidance scale to a place that has neither scale nor pin."""
    return f"{place}{_MARK}{float(scale)!r}"


def guided(teacher: Teacher, scale: float | None) -> Teacher:
    """Returns a teacher under a guidance scale; None and 1 mean the teacher as it is.

    Raises:
        TeacherError: the teacher knows no guidance.
    """
    if scale is None:
        return teacher
    if not isinstance(teacher, GuidedTeacher):
        raise TeacherError(
            f"guidance is for teachers that were also trained without a class (DiTPipeline), got {scale:g} for "
            f"{teacher.name!r}; leave it out"
        )
    return teacher if scale == 1 else teacher.guided(scale)
