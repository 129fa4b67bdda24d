"""Checks the folder of a UNet teacher: `DDPMPipeline` or `DDIMPipeline` with a `UNet2DModel`.

Looks at files alone and uses no torch. Weights are safetensors only. Network and scheduler lie in subfolders, or all at
the root.
"""

from pathlib import Path
from typing import Any

from advkd.teachers.class_labels import class_facts, without_null
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import part_of, read_json
from advkd.teachers.schedulers import read_scheduler
from advkd.teachers.weights import weights_of


def network_folder(folder: Path) -> Path:
    """Returns where the network of a teacher lies."""
    return part_of(folder, "unet", "config.json")


def deciding_files(folder: Path) -> tuple[Path, ...]:
    """Returns the files that decide what the teacher computes: configs, then the weights with all shards."""
    network = network_folder(folder)
    weights = (network / name for name in weights_of(network).names)
    return _scheduler_file(folder), network / "config.json", *weights


def scheduler_config(folder: Path) -> dict[str, Any]:
    """Checks a teacher's folder and returns its scheduler's config.

    Raises:
        TeacherError: the network is of another class or has conditions other than class labels, or the scheduler is of
            an unknown class or prediction.
        WeightsError: of all the files, only the weights are missing or pickles.
    """
    index = read_json(folder / "model_index.json")
    if index.get("unet") != ["diffusers", "UNet2DModel"]:
        raise TeacherError(
            f"a {index.get('_class_name')} must have a diffusers UNet2DModel, got {index.get('unet')!r} in {folder}; "
            "convert it or choose another teacher"
        )
    conditions_facts(folder)
    scheduler = read_scheduler(_scheduler_file(folder))
    weights_of(network_folder(folder))
    return scheduler


def conditions_facts(folder: Path) -> dict[str, Any] | None:
    """Returns the facts of the teacher's conditions, None for an unconditional one; see `class_facts`."""
    network, null = read_json(network_folder(folder) / "config.json"), null_class(folder)
    facts = class_facts(network, read_json(folder / "model_index.json"), folder)
    return facts if null is None else without_null(facts, null, str(folder))


def null_class(folder: Path) -> int | None:
    """Returns the class that stands for none, which `null_class` of model_index.json names; None if nothing does."""
    null = read_json(folder / "model_index.json").get("null_class")
    if null is not None and (not isinstance(null, int) or isinstance(null, bool)):
        raise TeacherError(f"null_class must be the number of a class, got {null!r} in {folder}; correct it")
    return null


def _scheduler_file(folder: Path) -> Path:
    name = "scheduler_config.json"
    return part_of(folder, "scheduler", name) / name
