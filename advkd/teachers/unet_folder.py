"""Checks the folder of a UNet teacher: `DDPMPipeline` or `DDIMPipeline` with a `UNet2DModel`.

Looks at files alone and uses no torch. Weights are safetensors only.
"""

from pathlib import Path
from typing import Any

from advkd.teachers.class_labels import class_facts
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json, weights_file
from advkd.teachers.schedulers import read_scheduler


def deciding_files(folder: Path) -> tuple[Path, Path, Path]:
    """Returns the files that decide what the teacher computes."""
    weights = weights_file(folder / "unet")
    return folder / "scheduler" / "scheduler_config.json", folder / "unet" / "config.json", weights


def scheduler_config(folder: Path) -> dict[str, Any]:
    """Checks a teacher's folder and returns its scheduler's config.

    Raises:
        TeacherError: the network is of another class, has conditions other than class labels, or pickles as weights,
            or the scheduler is of an unknown class or prediction.
    """
    index = read_json(folder / "model_index.json")
    if index.get("unet") != ["diffusers", "UNet2DModel"]:
        raise TeacherError(
            f"a {index.get('_class_name')} must have a diffusers UNet2DModel, got {index.get('unet')!r} in {folder}; "
            "convert it or choose another teacher"
        )
    weights_file(folder / "unet")
    conditions_facts(folder)
    return read_scheduler(folder / "scheduler" / "scheduler_config.json")


def conditions_facts(folder: Path) -> dict[str, Any] | None:
    """Returns the facts of the teacher's conditions, None for an unconditional one; see `class_facts`."""
    return class_facts(read_json(folder / "unet" / "config.json"), read_json(folder / "model_index.json"), folder)
