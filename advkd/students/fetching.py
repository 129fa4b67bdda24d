"""A student in an object store as a local folder: config, safetensors and what was observed of its training."""

from pathlib import Path

from advkd.files import FolderKind, download_folder, files_sha256, is_remote, refuse_credentials
from advkd.networks import DECODER, PROMPTS_FOLDER, WEIGHTS_SUM
from advkd.students.loading import CONFIG, OBSERVATIONS, WEIGHTS, StudentError, student_files
from storage.folders import read_contents
from storage.objects import join, local_folder


class StudentChangedError(StudentError):
    """A student that changes while it is read."""


def fetched_student(place: str) -> Path:
    """The local folder of a student: the folder itself, or a copy of what lies at a URI, once per machine.

    Args:
        place: folder or URI of a student, or of one with it as `student/` (a run, a version).

    Raises:
        StudentError: no student there.
        StoreError: the object store did not give it.
        ValueError: credentials in the URI.
    """
    if not is_remote(place):
        return Path(place)
    refuse_credentials(place)
    below = join(place, "student")
    # Beside a run's student lie checkpoints, which may change at any time and are no part of it.
    return download_folder(STUDENTS, place if read_contents(below) is None else below)


def is_student(place: str) -> bool:
    """Whether a student was saved at a path or URI, by us and as a whole; nothing is fetched."""
    here = local_folder(place)
    return read_contents(place) is not None if here is None else (here / CONFIG).is_file()


def is_wanted(key: str) -> bool:
    """Returns whether a file of a student's folder, or of one with it as `student/`, is fetched: no code ever is."""
    name = key.removeprefix("student/").removeprefix(f"{DECODER}/").removeprefix(f"{PROMPTS_FOLDER}/")
    return name in (CONFIG, WEIGHTS, OBSERVATIONS) or key.endswith(f"{PROMPTS_FOLDER}/{WEIGHTS_SUM}")


def _fingerprint(folder: Path) -> str:
    return files_sha256(folder, sorted(path for path in folder.rglob("*") if path.is_file()))


STUDENTS = FolderKind(
    name="students",
    noun="a student",
    needed=lambda _, keys: [key for key in keys if is_wanted(key)],
    check=student_files,
    fingerprint=_fingerprint,
    error=StudentError,
    changed=StudentChangedError,
)
