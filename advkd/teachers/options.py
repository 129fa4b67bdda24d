"""What a teacher's source may say besides its place: `SOURCE#guidance=4&null=10`, before a pin.

A guided teacher is another teacher, with states of its own, so its fingerprint is another too. Ho and Salimans 2022
(https://arxiv.org/abs/2207.12598); the scale is diffusers': 1 is no guidance.
"""

import copy
import hashlib
import math
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError
from advkd.teachers.network import NetworkTeacher
from advkd.teachers.pins import pinned, split_pin
from advkd.teachers.schedulers import PREDICTIONS, arithmetic_of, prediction_of
from advkd.teachers.sizes import Size, read_size

_FIRST = re.compile(r"#(?=(guidance|null|prediction|sample_size)=)")


@dataclass(frozen=True)
class TeacherOptions:
    """Options of a source.

    Attributes:
        guidance: scale of classifier-free guidance, from 1 (none) on.
        null: number of the class that stands for no class, in a network that has it among its classes.
        prediction: what the network predicts, instead of what its scheduler says.
        sample_size: (H, W) of the states, of a network whose config leaves it open.
    """

    guidance: float | None = None
    null: int | None = None
    prediction: str | None = None
    sample_size: Size | None = None


@runtime_checkable
class GuidedTeacher(Protocol):
    """A teacher whose network was also trained without conditions."""

    def guided(self, scale: float) -> Teacher:
        """Returns the teacher under a guidance scale above 1; they share the network."""


@runtime_checkable
class NullTeacher(Protocol):
    """A teacher whose network may have a class that stands for none."""

    def with_null(self, null: int) -> Teacher:
        """Returns the teacher that never draws this class; they share the network."""


def split_options(place: str) -> tuple[str, TeacherOptions]:
    """Splits a place and its options.

    Raises:
        TeacherError: an option is unknown, said twice, or has a value that it cannot have.
    """
    match = _FIRST.search(place)
    if match is None:
        return place, TeacherOptions()
    where, said = place[: match.start()], {}
    for part in place[match.end() :].split("&"):
        name, _, value = part.partition("=")
        if name not in _READ or name in said:
            raise TeacherError(
                f"a teacher's options must be {', '.join(_READ)}, each at most once, got {part!r}; write "
                f"`{where}#guidance=4&null=10`"
            )
        said[name] = _READ[name](where, value)
    return where, TeacherOptions(**said)  # type: ignore[arg-type]


def with_option(source: str, name: str, value: object) -> str:
    """Adds an option to a source, before its pin.

    Raises:
        TeacherError: the source says it already.
    """
    place, fingerprint = split_pin(source)
    where, options = split_options(place)
    if getattr(options, name) is not None:
        raise TeacherError(
            f"a teacher's {name} must be said once, got {value} for {source!r}, which says it; leave one of them out"
        )
    said = place[len(where) + 1 :]
    place = f"{where}#{name}={value}{f'&{said}' if said else ''}"
    return place if fingerprint is None else pinned(place, fingerprint)


def _scale(where: str, text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 1 <= scale < math.inf:
        raise TeacherError(
            f"a guidance scale must be a number from 1 (no guidance) on, got {text!r}; write `{where}#guidance=4`"
        )
    return scale


def _class(where: str, text: str) -> int:
    if not text.isdecimal():
        raise TeacherError(f"a null class must be the number of a class, got {text!r}; write `{where}#null=10`")
    return int(text)


def _prediction(where: str, text: str) -> str:
    return text


_READ = {"guidance": _scale, "null": _class, "prediction": _prediction, "sample_size": read_size}


def with_options(teacher: Teacher, options: TeacherOptions) -> Teacher:
    """Returns a teacher under the options of its source.

    Raises:
        TeacherError: an option does not fit the teacher.
    """
    if options.null is not None:
        if not isinstance(teacher, NullTeacher):
            raise TeacherError(
                f"a null class is for class-conditional UNets, got {options.null} for {teacher.name!r}; leave it out"
            )
        teacher = teacher.with_null(options.null)
    if options.prediction is not None:
        teacher = _predicting(teacher, options.prediction)
    return guided(teacher, options.guidance)


def _predicting(teacher: Teacher, prediction: str) -> Teacher:
    """Returns the teacher whose network predicts what the user says; another teacher if its scheduler said another."""
    known = PREDICTIONS[arithmetic_of(teacher.scheduler)] if isinstance(teacher, NetworkTeacher) else ()
    if not isinstance(teacher, NetworkTeacher) or prediction not in known:
        raise TeacherError(
            f"the prediction of {teacher.name!r} must be one of {known}, got {prediction!r}; "
            f"{'write one of these' if known else 'leave it out'}"
        )
    other = copy.copy(teacher)
    other.vouched = True
    if prediction != prediction_of(teacher.scheduler):
        other.scheduler = {**teacher.scheduler, "prediction_type": prediction}
        other.fingerprint = hashlib.sha256(f"{teacher.fingerprint} prediction_type {prediction}".encode()).hexdigest()
    return other


def guided(teacher: Teacher, scale: float | None) -> Teacher:
    """Returns a teacher under a guidance scale; None and 1 mean the teacher as it is.

    Raises:
        TeacherError: the teacher knows no guidance.
    """
    if scale is None:
        return teacher
    if not isinstance(teacher, GuidedTeacher):
        raise TeacherError(
            "guidance is for teachers that were also trained without a class (DiTPipeline, or a UNet2DModel with a "
            f"null class), got {scale:g} for {teacher.name!r}; leave it out"
        )
    return teacher if scale == 1 else teacher.guided(scale)


def guided_fingerprint(fingerprint: str, *facts: object) -> str:
    """Returns the fingerprint of a guided teacher."""
    return hashlib.sha256(" ".join([fingerprint, "guidance_scale", *map(repr, facts)]).encode()).hexdigest()


def doubled(state: Tensor, labels: Tensor, null: int) -> tuple[Tensor, Tensor]:
    """Returns one batch of both halves: states with their classes, and the same states with none."""
    return torch.cat([state, state]), torch.cat([labels, torch.full_like(labels, null)])


def combined(predicted: Tensor, scale: float, channels: int) -> Tensor:
    """Returns the guided prediction of both halves; channels beyond the state's, a variance, are the conditional's."""
    conditional, unconditional = predicted.chunk(2)
    with_class, free = conditional[:, :channels], unconditional[:, :channels]
    # Ho and Salimans 2022, Eq. 6, with w = guidance - 1.
    return torch.cat([free + scale * (with_class - free), conditional[:, channels:]], dim=1)
