"""What the folder of a UNet teacher must hold: `DDPMPipeline` or `DDIMPipeline` with an unconditional `UNet2DModel`.

The files alone, without torch. Safetensors only.
"""

from pathlib import Path
from typing import Any

from advkd.teachers.base import TeacherError
from advkd.teachers.folder import read_json, weights_file

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def deciding_files(folder: Path) -> tuple[Path, Path, Path]:
    """The files that decide what the teacher computes."""
    weights = weights_file(folder / "unet")
    return folder / "scheduler" / "scheduler_config.json", folder / "unet" / "config.json", weights


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The scheduler's config of a teacher's folder, once its form is found to be right.

    Raises:
        TeacherError: another network, pickle weights, a conditional model, an unknown kind of prediction.
    """
    index = read_json(folder / "model_index.json")
    if index.get("unet") != ["diffusers", "UNet2DModel"]:
        raise TeacherError(
            f"a {index.get('_class_name')} must have a diffusers UNet2DModel, got {index.get('unet')!r} in {folder}; "
            "convert it or choose another teacher"
        )
    weights_file(folder / "unet")
    config = read_json(folder / "unet" / "config.json")
    if config.get("num_class_embeds") or config.get("class_embed_type"):
        raise TeacherError(
            f"a teacher must be unconditional, got class embeddings in {folder}; choose an unconditional teacher"
        )
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise TeacherError(
            f"prediction_type must be one of {PREDICTION_TYPES}, got {prediction!r} in {folder}; choose another teacher"
        )
    return scheduler
