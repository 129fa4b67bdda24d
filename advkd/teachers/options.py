"""What a source says of a teacher besides its place: `SOURCE#prompts=FILE&size=512&guidance=7.5`, before a pin if any.

Most make another teacher, with states of its own, so its fingerprint is another too. As part of the source they reach
every command and flow that takes a teacher: what is evaluated and repaired is asked as what was precomputed.
"""

import copy
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from advkd.teachers.base import Teacher, derived_fingerprint
from advkd.teachers.errors import TeacherError
from advkd.teachers.guidance import guided
from advkd.teachers.network import NetworkTeacher
from advkd.teachers.pins import pinned, split_pin
from advkd.teachers.schedulers import PREDICTIONS, arithmetic_of, prediction_of
from advkd.teachers.sizes import Size, read_size


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The options of a source; None: not said.

    Attributes:
        guidance: scale of classifier-free guidance, from 1 (none) on.
        null: number of the class that stands for no class, in a network that has it among its classes.
        prediction: what the network predicts, instead of what its scheduler says.
        sample_size: (H, W) of the states, of a network whose config leaves it open.
        prompts: path or URI of a file with one prompt on each line.
        size: (H, W) of the images of a teacher of prompts, in pixels.
    """

    guidance: float | None = None
    null: int | None = None
    prediction: str | None = None
    sample_size: Size | None = None
    prompts: str | None = None
    size: Size | None = None


@runtime_checkable
class NullTeacher(Protocol):
    """A teacher whose network may have a class that stands for none."""

    def with_null(self, null: int) -> Teacher:
        """Returns the teacher that never draws this class; they share the network."""


def split_options(place: str) -> tuple[str, TeacherOptions]:
    """Splits a source without its pin into its place and its options.

    Raises:
        TeacherError: an option is unknown, said twice, or has a value that it cannot have.
    """
    begin = _FIRST.search(place)
    if begin is None:
        return place, TeacherOptions()
    where, (_, *parts) = place[: begin.start()], _OPTION.split(place[begin.start() :])
    said: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        if name in said:
            raise TeacherError(
                f"a teacher's options must be said once each, got {name}={said[name]} and {name}={value}; leave one out"
            )
        said[name] = value
    return where, TeacherOptions(**{name: _READ[name](where, value) for name, value in said.items()})


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
            f"a guidance scale must be a number from 1 (no guidance) on, got {text!r}; write `{where}#guidance=4`, and "
            f"after it, if need be, `&` with another of {', '.join(_READ)}"
        )
    return scale


def _class(where: str, text: str) -> int:
    if not text.isdecimal():
        raise TeacherError(f"a null class must be the number of a class, got {text!r}; write `{where}#null=10`")
    return int(text)


def _file(where: str, text: str) -> str:
    if not text:
        raise TeacherError(f"prompts must be in a file, got no name; write `{where}#prompts=prompts.txt`")
    return text


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "guidance": _scale,
    "null": _class,
    "prediction": lambda where, text: text,
    "sample_size": read_size,
    "prompts": _file,
    "size": read_size,
}
_OPTION = re.compile(rf"[#&]({'|'.join(_READ)})=")
_FIRST = re.compile(rf"#({'|'.join(_READ)})=")


def with_options(teacher: Teacher, options: TeacherOptions) -> Teacher:
    """Returns a teacher under the options of its source; prompts and sizes are known since it was loaded.

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
        other.fingerprint = derived_fingerprint(teacher.fingerprint, f"prediction_type {prediction}")
    return other
