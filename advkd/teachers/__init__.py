"""Teachers: where trajectories come from."""

from collections.abc import Callable
from pathlib import Path

from advkd.teachers.base import SolverSpec, Teacher, TeacherError
from advkd.teachers.mixture import digits_mixture_teacher
from advkd.teachers.unet import UNetTeacher, resolve_source, slug

__all__ = ["EMBEDDED", "SolverSpec", "Teacher", "TeacherError", "load_teacher"]

DIGITS_FOLDER = Path(__file__).parent / "digits" / "pipeline"

EMBEDDED: dict[str, Callable[[str], Teacher]] = {
    "digits": lambda device: UNetTeacher(DIGITS_FOLDER, name="digits", device=device),
    "mixture": lambda device: digits_mixture_teacher(),
}


def load_teacher(source: str, device: str = "cpu") -> Teacher:
    """The teacher of an embedded name, a diffusers folder or a hub id.

    Raises:
        TeacherError: nothing of that name, or something that is not a supported teacher.
    """
    if source in EMBEDDED:
        return EMBEDDED[source](device)
    try:
        folder = resolve_source(source)
    except TeacherError as error:
        raise TeacherError(f"{error}; the embedded names are {sorted(EMBEDDED)}") from error
    # A snapshot's folder is called by its revision: a hub id names the teacher better.
    return UNetTeacher(folder, name=None if folder == Path(source) else slug(source), device=device)
