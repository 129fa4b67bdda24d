"""A teacher in Python: `package.module:factory`, where `factory(device)` returns a `Teacher`."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from advkd.runtime import imported, missing_members
from advkd.teachers.base import Teacher
from advkd.teachers.errors import TeacherError

_MEMBERS = ("name", "fingerprint", "space", "conditions", "grid", "solver_config", "states")
_PARTS = {"space": ("shape", "image_shape", "facts", "decode"), "conditions": ("facts", "draw", "tensors")}
_NAME = re.compile(r"[a-z0-9-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def python_teacher(place: str, device: str) -> Teacher:
    """Imports the module, calls the factory with the device, and checks what it returns.

    Raises:
        TeacherError: there is no such module or factory, it fails, or what it returns is no teacher.
    """
    try:
        factory = imported(place)
    except (ImportError, AttributeError) as error:
        raise TeacherError(
            f"a teacher in Python must be an importable package.module:factory, got {place!r} ({error}); install its "
            "package beside advkd, or correct the name"
        ) from error
    if not callable(factory):
        raise TeacherError(
            f"a teacher's factory must be called with a device, but {place} is a {type(factory).__name__}, and the "
            "object is not callable; name a function"
        )
    teacher = _called(factory, device, place)
    missing = missing_members(teacher, _MEMBERS)
    if missing:
        raise TeacherError(
            f"a teacher's factory must return an object with {', '.join(_MEMBERS)} (advkd.teachers.Teacher), got a "
            f"{type(teacher).__name__} without {', '.join(missing)} from {place}; add them"
        )
    _check_facts(teacher, place)
    return teacher  # type: ignore[no-any-return]


def _called(factory: Callable[[str], Any], device: str, place: str) -> Any:
    if not _takes_one(factory):
        raise TeacherError(
            f"a teacher's factory must be called with a device alone, but {place} does not take one argument; let it "
            "take the device"
        )
    try:
        return factory(device)
    except TeacherError:
        raise
    except Exception as error:
        raise TeacherError(
            f"a teacher's factory must return a teacher, got {type(error).__name__} ({error}) from {place}; correct it"
        ) from error


def _takes_one(factory: Callable[[str], Any]) -> bool:
    try:
        inspect.signature(factory).bind("cpu")
    except TypeError:
        return False
    except ValueError:
        # Builtins may have no signature to look at.
        pass
    return True


def _check_facts(teacher: Teacher, place: str) -> None:
    for part, members in _PARTS.items():
        value = getattr(teacher, part)
        if missing := missing_members(value, members):
            raise TeacherError(
                f"a teacher's {part} must have {', '.join(members)} (advkd.diffusion), got a {type(value).__name__} "
                f"without {', '.join(missing)} from {place}; "
                f"take {'Pixels(shape)' if part == 'space' else 'UNCONDITIONAL'}, or one of your own"
            )
    for method in ("grid", "solver_config", "states"):
        if not callable(getattr(teacher, method)):
            raise TeacherError(
                f"a teacher's {method} must be a method, got a {type(getattr(teacher, method)).__name__} from {place}; "
                "define it as advkd.teachers.Teacher does"
            )
    if not isinstance(teacher.name, str) or not _NAME.fullmatch(teacher.name):
        raise TeacherError(
            f"a teacher's name must be made of lower-case letters, digits and dashes, got {teacher.name!r} from "
            f"{place}; correct it"
        )
    if not isinstance(teacher.fingerprint, str) or not _SHA256.fullmatch(teacher.fingerprint):
        raise TeacherError(
            f"a teacher's fingerprint must be a sha256 in 64 hex digits, got {teacher.fingerprint!r} from {place}; "
            "take it over everything that its states depend on, weights included"
        )
    shape = tuple(teacher.space.shape)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise TeacherError(
            f"a teacher's states must have a shape [C, H, W] of positive numbers, got {shape} from {place}; correct "
            "its space"
        )
