"""Files of a teacher's folder: its JSON, its weights, their stamp. Uses no torch; weights are safetensors only."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from advkd.teachers.errors import TeacherError

_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


def files_stamp(files: Iterable[Path]) -> tuple[tuple[int, int, int], ...]:
    """Returns inodes, sizes and times of files: what changes when a file is replaced, without reading it."""
    statuses = [path.stat() for path in files]
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses)


def slug(text: str) -> str:
    """Reduces text to lower-case letters, digits and dashes; returns "teacher" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "teacher"


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
        raise TeacherError(f"{path.name} must be JSON, got something else at {path}; save the teacher again") from error
    if not isinstance(loaded, dict):
        raise TeacherError(f"{path.name} must be a JSON object, got another value at {path}; save the teacher again")
    return loaded


def weights_file(folder: Path) -> Path:
    """Returns the safetensors file in a network's folder; raises `TeacherError` if there is none."""
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    pickles = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt"))]
    if pickles:
        raise TeacherError(
            f"teacher weights must be safetensors, got only pickle files {sorted(pickles)} in {folder}, which are "
            "never loaded; save the pipeline again with safe_serialization=True"
        )
    raise TeacherError(
        f"a teacher needs weights, got no {_WEIGHTS[0]} in {folder}; save the pipeline again with "
        "safe_serialization=True"
    )
