"""A teacher from a diffusers `DDPMPipeline` or `DDIMPipeline` with a pixel-space `UNet2DModel`.

Its conditions are class labels or none. Loads safetensors only and network classes from a fixed table only; never runs
remote code.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advkd.device import torch_device
from advkd.diffusion import Pixels, conditions_of
from advkd.files import files_sha256
from advkd.teachers.base import Teacher
from advkd.teachers.class_unet import ClassUNet
from advkd.teachers.errors import TeacherChangedError, TeacherError
from advkd.teachers.folder import files_stamp, slug
from advkd.teachers.latents import load_component
from advkd.teachers.schedulers import own_scheduler
from advkd.teachers.unet_folder import conditions_facts, deciding_files, network_folder, null_class, scheduler_config


class UNetTeacher(ClassUNet):
    """A `Teacher` that runs a `UNet2DModel` in float32 under diffusers' schedulers."""

    def __init__(self, folder: Path, name: str | None = None, device: str = "cpu") -> None:
        """Loads and checks the folder.

        Raises:
            TeacherError: the folder holds no pipeline, another class of network, a scheduler of unknown arithmetic,
                pickle weights or conditions other than class labels, or was replaced while it was read.
        """
        self.scheduler = scheduler_config(folder)
        own_scheduler(self.scheduler, str(folder))
        files = deciding_files(folder)
        stamp = files_stamp(files)
        self.name = name or slug(folder.resolve().name)
        self.fingerprint = files_sha256(folder, files)
        self.device = torch_device(device)
        self.network: nn.Module = _load_unet(folder).to(self.device, memory_format=torch.channels_last)
        if files_stamp(deciding_files(folder)) != stamp:
            raise TeacherChangedError(
                f"a teacher must stay as it is while it is read, but {folder} changed meanwhile; wait until it is "
                "whole and run again"
            )
        self.space = Pixels(sample_shape(self.network, self.scheduler))
        self.conditions = conditions_of(conditions_facts(folder))
        self.null = null_class(folder)


class UNetFamily:
    """The row of `DDPMPipeline` and `DDIMPipeline` in `TEACHERS`."""

    folders: tuple[str, ...] = ("scheduler", "unet")

    def check(self, folder: Path) -> None:
        """See `Family.check`."""
        scheduler_config(folder)

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """See `Family.deciding_files`."""
        return deciding_files(folder)

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """See `Family.load`."""
        return UNetTeacher(folder, name=name, device=device)


def _load_unet(folder: Path) -> Any:
    # Its package brings all of diffusers' networks in, two seconds of a processor: only who loads one waits for them.
    from diffusers import UNet2DModel

    return load_component(UNet2DModel, network_folder(folder))


def sample_shape(network: Any, scheduler: Mapping[str, Any]) -> tuple[int, int, int]:
    """Returns `[C, H, W]` of a UNet's states; raises `TeacherError` if its config does not say it."""
    config = network.config
    if config.sample_size is None:
        raise TeacherError(
            "a teacher must say the size of its images, got sample_size null in the network's config.json; write the "
            "size of the training images there, such as 32"
        )
    variance = str(scheduler.get("variance_type", "")).startswith("learned")
    if config.out_channels != config.in_channels * (1 + variance):
        raise TeacherError(
            f"a teacher must map images to images, and to their variances where the scheduler's variance_type is "
            f"learned, got {config.in_channels} channels in, {config.out_channels} out and variance_type "
            f"{scheduler.get('variance_type')!r}; choose another teacher"
        )
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return config.in_channels, height, width
