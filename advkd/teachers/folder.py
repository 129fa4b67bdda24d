"""What a teacher's folder must hold, and its identity: the files alone, without torch.

A diffusers pipeline folder: `DDPMPipeline` or `DDIMPipeline` with an unconditional `UNet2DModel`, safetensors only.
"""

import json
import re
from pathlib import Path
from typing import Any

from advkd.files import files_sha256
from advkd.teachers.base import TeacherError

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")


def folder_fingerprint(folder: Path) -> str:
    """sha256 over names and contents of the files that decide what the teacher computes."""
    return files_sha256(folder, _deciding_files(folder))


def folder_stamp(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """Inodes, sizes and times of the same files: what a replacement changes, without reading them."""
    statuses = [path.stat() for path in _deciding_files(folder)]
    return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses)


def slug(text: str) -> str:
    """Lower-case letters, digits and dashes; "teacher" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "teacher"


def check_folder(folder: Path) -> dict[str, Any]:
    """The scheduler's config of a teacher's folder, once its form is found to be right.

    Raises:
        TeacherError: no pipeline folder, another class, pickle weights, a conditional model.
    """
    index = _read_json(folder / "model_index.json")
    pipeline, unet = index.get("_class_name"), index.get("unet")
    if pipeline not in PIPELINES or unet != ["diffusers", "UNet2DModel"]:
        raise TeacherError(
            f"a teacher must be one of {PIPELINES} with a diffusers UNet2DModel, got {pipeline!r} with {unet!r} in "
            f"{folder}; convert it or choose another teacher"
        )
    weights_file(folder / "unet")
    config = _read_json(folder / "unet" / "config.json")
    if config.get("num_class_embeds") or config.get("class_embed_type"):
        raise TeacherError(
            f"a teacher must be unconditional, got class embeddings in {folder}; choose an unconditional teacher"
        )
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise TeacherError(
            f"prediction_type must be one of {PREDICTION_TYPES}, got {prediction!r} in {folder}; choose another teacher"
        )
    return scheduler


def _read_json(path: Path) -> dict[str, Any]:
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
    """The safetensors in a network's folder; `TeacherError` if there are none."""
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


def _deciding_files(folder: Path) -> tuple[Path, Path, Path]:
    weights = weights_file(folder / "unet")
    return folder / "scheduler" / "scheduler_config.json", folder / "unet" / "config.json", weights
