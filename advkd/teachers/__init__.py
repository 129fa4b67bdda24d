"""Teachers: where trajectories come from."""

from collections.abc import Callable
from pathlib import Path

from advkd.teachers.base import SolverSpec, Teacher, TeacherChangedError, TeacherError
from advkd.teachers.families import TEACHERS, Family, check_folder, folder_fingerprint, load_folder
from advkd.teachers.folder import slug
from advkd.teachers.mixture import digits_mixture_teacher
from advkd.teachers.solvers import SOLVERS, Solver
from advkd.teachers.sources import (
    HubId,
    hub_id,
    is_remote,
    pinned,
    refuse_credentials,
    resolve_source,
    split_pin,
    teacher_name,
)
from advkd.teachers.unet import UNetTeacher

DIGITS_FOLDER = Path(__file__).parent / "digits" / "pipeline"

EMBEDDED: dict[str, Callable[[str], Teacher]] = {
    "digits": lambda device: UNetTeacher(DIGITS_FOLDER, name="digits", device=device),
    "mixture": lambda device: digits_mixture_teacher(),
}


def load_teacher(source: str, device: str = "cpu") -> Teacher:
    """The teacher of an embedded name, a diffusers folder, the URI of one, or a hub id.

    Raises:
        TeacherError: nothing of that name, something that is not a supported teacher, or (`TeacherChangedError`)
            another one than `#sha256=<fingerprint>` at the source's end says.
        StoreError: the object store did not give it.
        ValueError: credentials in the URI.
    """
    place, fingerprint = split_pin(source)
    teacher = _load(place, fingerprint, device)
    if fingerprint not in (None, teacher.fingerprint):
        raise TeacherChangedError(
            f"a pinned teacher must still be what it was, got {teacher.fingerprint[:12]} instead of "
            f"{str(fingerprint)[:12]} at {place}; it was replaced: distil what is there now, or put the old one back"
        )
    return teacher


def _load(place: str, fingerprint: str | None, device: str) -> Teacher:
    if place in EMBEDDED:
        return EMBEDDED[place](device)
    try:
        folder = resolve_source(place, fingerprint)
    except TeacherError as error:
        if is_remote(place):
            raise
        raise type(error)(f"{error}; the embedded names are {sorted(EMBEDDED)}") from error
    # A copy's folder is called by its content or revision: the place names the teacher better.
    return load_folder(folder, None if folder == Path(place) else slug(teacher_name(place)), device)


__all__ = [
    "EMBEDDED",
    "SOLVERS",
    "TEACHERS",
    "Family",
    "HubId",
    "Solver",
    "SolverSpec",
    "Teacher",
    "TeacherChangedError",
    "TeacherError",
    "check_folder",
    "folder_fingerprint",
    "hub_id",
    "is_remote",
    "load_teacher",
    "pinned",
    "refuse_credentials",
    "resolve_source",
    "teacher_name",
]
