"""Explains folders that are no pipeline but parts of one: checkpoints of a training, networks alone."""

import re
from collections.abc import Collection
from pathlib import Path

from advkd.teachers.errors import TeacherError

INDEX = "model_index.json"
_CHECKPOINT = re.compile(r"(checkpoint-(\d+))/(.+)")
_NETWORK = r"unet\w*/config\.json"
_PATTERNS = ("config.json", "unet*/config.json", "checkpoint-*/unet*/config.json", f"checkpoint-*/{INDEX}")


def no_pipeline(folder: Path, names: Collection[str] | None = None) -> TeacherError:
    """Returns the error about a folder without `model_index.json`, with the way from what it holds to a pipeline.

    Args:
        folder: the folder, which need not exist.
        names: of the files below it, with slashes; None: looks.
    """
    if names is None:
        files = [path for pattern in _PATTERNS for path in folder.glob(pattern)]
        names = [path.relative_to(folder).as_posix() for path in files]
    fact = f"a teacher must be a diffusers pipeline folder, got no {INDEX} at {folder / INDEX}"
    whole, parts = _checkpoints(names, re.escape(INDEX)), _checkpoints(names, _NETWORK)
    networks = _networks(names)
    if whole:
        return TeacherError(f"{fact}, but checkpoints of a training; give the newest: {folder / whole[-1]}")
    if parts:
        prefix = f"{parts[-1]}/"
        inner = _networks([name.removeprefix(prefix) for name in names if name.startswith(prefix)])
        return TeacherError(
            f"{fact}, but checkpoints of a training, the newest of which is {parts[-1]}; "
            f"{_way(folder / parts[-1] / inner[-1])}"
        )
    if networks:
        return TeacherError(f"{fact}, but the networks {networks}; {_way(folder / networks[-1])}")
    if "config.json" in names:
        return TeacherError(f"{fact}, but one network; {_way(folder)}")
    return TeacherError(f"{fact}; save it with pipeline.save_pretrained(folder)")


def _way(network: Path) -> str:
    return (
        "a network does not say its scheduler: save both with "
        f"DDPMPipeline(UNet2DModel.from_pretrained({str(network)!r}), scheduler).save_pretrained(folder)"
    )


def _networks(names: Collection[str]) -> list[str]:
    """Subfolders with a network, averaged weights (`unet_ema`) last."""
    return sorted({name.partition("/")[0] for name in names if re.fullmatch(_NETWORK, name)})


def _checkpoints(names: Collection[str], inside: str) -> list[str]:
    """Folders of checkpoints that hold something, the newest last."""
    matches = [match for name in names if (match := _CHECKPOINT.fullmatch(name)) and re.fullmatch(inside, match[3])]
    return [name for _, name in sorted({(int(match[2]), match[1]) for match in matches})]
