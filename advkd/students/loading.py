"""Loads trained students from folders and checks them: known class, whole config, weights that fit it exactly."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from advkd.students.table import STUDENTS, AnyStudent
from storage.objects import whose

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
OBSERVATIONS = "monitors.json"
"""What was observed of its training, in a student's folder; may be missing."""


class StudentError(ValueError):
    """A folder holds no usable student; the message says what is wrong and how to fix it."""


@dataclass(frozen=True)
class StudentFiles:
    """The two files of a student."""

    config: Path
    weights: Path


def student_files(folder: str | Path) -> StudentFiles:
    """Finds a student's files: in the folder itself, or in `student/` below it (a run, a registered version).

    Raises:
        StudentError: they are in neither place, or this user may not read them.
    """
    for place in (Path(folder), Path(folder) / "student"):
        try:
            if (place / CONFIG).is_file() and (place / WEIGHTS).is_file():
                for name in (CONFIG, WEIGHTS):
                    (place / name).open("rb").close()
                return StudentFiles(place / CONFIG, place / WEIGHTS)
        except PermissionError as error:
            raise StudentError(
                f"a student must be readable, but {error.filename} is not ({whose(error.filename)}); change its "
                "permissions, or ask its owner to"
            ) from error
    raise StudentError(
        f"a student is a folder with {CONFIG} and {WEIGHTS}, or one with such a student/ in it, got neither in "
        f"{folder}; train one with `advkd train`, or wait for its training to finish"
    )


def load_student(folder: str | Path) -> AnyStudent:
    """Loads the student of a folder on the CPU, in evaluation mode and without gradients.

    Raises:
        StudentError: there is no student, its class is unknown, or its weights do not fit its config.
    """
    files = student_files(folder)
    config = _read_config(files.config)
    student = _build(config, files.config)
    try:
        student.load_state_dict(load_file(files.weights))
    except (SafetensorError, RuntimeError) as error:
        raise StudentError(
            f"a student's weights must fit its config, got others in {files.weights} ({_first_line(error)}); "
            "export the student again"
        ) from error
    student.eval().requires_grad_(False)
    return student


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudentError(f"{path} must hold JSON, got something else; export the student again") from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in STUDENTS:
        raise StudentError(
            f"a student must be a {' or a '.join(STUDENTS)}, got {name!r} in {path}; give the folder that "
            "`advkd train` wrote"
        )
    return dict(config)


def _build(config: dict[str, Any], path: Path) -> AnyStudent:
    kind = STUDENTS[config["_class_name"]]
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    try:
        student: AnyStudent = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise StudentError(
            f"a student's config must describe a {kind.__name__}, got another one in {path} "
            f"({_first_line(error)}); it was edited or written by another version: train or "
            "export the student again"
        ) from error
    return student


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
