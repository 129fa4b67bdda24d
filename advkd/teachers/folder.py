"""Files of a teacher's folder: where its parts lie, its JSON, their stamp. Uses no torch."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from advkd.teachers.errors import TeacherError


def files_stamp(files: Iterable[Path]) -> tuple[tuple[int, int, int], ...]:
    """Returns inodes, sizes and times of files: what changes when a file is replaced, without reading it."""
    statuses = [path.stat() for path in files]
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses)


def slug(text: str) -> str:
    """Reduces text to lower-case letters, digits and dashes; returns "teacher" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "teacher"


def part_of(folder: Path, name: str, config: str) -> Path:
    """Returns where a part of a pipeline lies: in its subfolder, or, as in old repositories, at the root with the rest.

    Args:
        folder: the pipeline's.
        name: of the part and its subfolder: `unet`.
        config: name of the part's JSON file, by which it is known at the root: `config.json`.
    """
    return folder if not (folder / name).is_dir() and (folder / config).is_file() else folder / name


def read_json(path: Path) -> dict[str, Any]:
    """Reads the JSON object in a file; raises `TeacherError` if there is none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TeacherError(
            f"a teacher must be a diffusers pipeline folder, got no {path.name} at {path}; "
            "save it with pipeline.save_pretrained(folder)"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        what = "a byte order mark before it" if path.read_bytes().startswith(BOM_UTF8) else "something else"
        raise TeacherError(
            f"{path.name} must be JSON in UTF-8, got {what} at {path}; save the teacher again, or the file without it"
        ) from error
    if not isinstance(loaded, dict):
        raise TeacherError(f"{path.name} must be a JSON object, got another value at {path}; save the teacher again")
    return loaded
