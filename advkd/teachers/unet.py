"""A teacher from a diffusers `DDPMPipeline` or `DDIMPipeline` with a pixel-space `UNet2DModel`.

Its conditions are class labels or none. Loads safetensors only and network classes from a fixed table only; never runs
remote code.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from advkd.device import torch_device
from advkd.diffusion import Pixels, conditions_of
from advkd.files import files_sha256
from advkd.teachers.base import Teacher
from advkd.teachers.class_unet import ClassUNet, memory_format_of
from advkd.teachers.errors import TeacherChangedError, TeacherError
from advkd.teachers.folder import files_stamp, slug
from advkd.teachers.latents import load_component
from advkd.teachers.schedulers import own_scheduler
from advkd.teachers.sizes import sized_fingerprint
from advkd.teachers.unet_folder import conditions_facts, deciding_files, network_folder, null_class, scheduler_config


class UNetTeacher(ClassUNet):
    """A `Teacher` that runs a `UNet2DModel` in float32 under diffusers' schedulers."""

    def __init__(
        self, folder: Path, name: str | None = None, device: str = "cpu", size: tuple[int, int] | None = None
    ) -> None:
        """Loads and checks the folder; `size` is (H, W) of the images where the network's config says none.

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
        network = _load_unet(folder)
        self.memory_format = memory_format_of(network)
        self.network: nn.Module = network.to(self.device, memory_format=self.memory_format)
        if files_stamp(deciding_files(folder)) != stamp:
            raise TeacherChangedError(
                f"a teacher must stay as it is while it is read, but {folder} changed meanwhile; wait until it is "
                "whole and run again"
            )
        self.space = Pixels(sample_shape(self.network, self.scheduler, size))
        if size is not None and self.network.config.sample_size is None:
            self.fingerprint = sized_fingerprint(self.fingerprint, size)
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

    def load_sized(self, folder: Path, name: str | None, device: str, size: tuple[int, int]) -> Teacher:
        """See `SizedFamily.load_sized`."""
        return UNetTeacher(folder, name=name, device=device, size=size)


def _load_unet(folder: Path) -> Any:
    # Its package brings all of diffusers' networks in, two seconds of a processor: only who loads one waits for them.
    from diffusers import UNet2DModel

    return load_component(UNet2DModel, network_folder(folder))


def sample_shape(
    network: Any, scheduler: Mapping[str, Any], size: tuple[int, int] | None = None
) -> tuple[int, int, int]:
    """Returns `[C, H, W]` of a UNet's states.

    Args:
        network: the UNet.
        scheduler: config of its scheduler.
        size: (H, W) from the teacher's source, for a network whose config says none.

    Raises:
        TeacherError: nobody says the size, or both do and differ; or the channels do not fit.
    """
    config = network.config
    own = config.sample_size
    height, width = size or (0, 0)
    if own is not None:
        height, width = (own, own) if isinstance(own, int) else own
    if not height:
        raise TeacherError(
            "a teacher must say the size of its images, got sample_size null in the network's config.json; give the "
            "size of the training images with --sample-size 32, or behind the source as #sample_size=32"
        )
    if size not in (None, (height, width)):
        raise TeacherError(
            f"a sample size is for teachers that say none, got {'x'.join(map(str, size))} where the network's config "
            f"says {height}x{width}; leave it out"
        )
    variance = str(scheduler.get("variance_type", "")).startswith("learned")
    if config.out_channels != config.in_channels * (1 + variance):
        raise TeacherError(
            f"a teacher must map images to images, and to their variances where the scheduler's variance_type is "
            f"learned, got {config.in_channels} channels in, {config.out_channels} out and variance_type "
            f"{scheduler.get('variance_type')!r}; choose another teacher"
        )
    return config.in_channels, height, width
