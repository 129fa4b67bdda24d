"""A teacher from a diffusers `LDMPipeline`: a `UNet2DModel` whose states are latents of its `vqvae`.

Its conditions are class labels or none. Loads safetensors only and classes from a fixed table only; never runs remote
code.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from advkd.device import torch_device
from advkd.diffusion import conditions_of
from advkd.teachers import unet_folder
from advkd.teachers.base import Teacher
from advkd.teachers.class_unet import ClassUNet, memory_format_of
from advkd.teachers.folder import slug
from advkd.teachers.latents import (
    SteadyFolder,
    check_autoencoder,
    component_files,
    latent_space,
    load_component,
)
from advkd.teachers.schedulers import own_scheduler
from advkd.teachers.sizes import sized_fingerprint
from advkd.teachers.unet import sample_shape

_AUTOENCODER = "vqvae"


class LDMTeacher(ClassUNet):
    """A `Teacher` that runs the `UNet2DModel` of an `LDMPipeline` in float32; its states are what the UNet sees."""

    def __init__(
        self, folder: Path, name: str | None = None, device: str = "cpu", size: tuple[int, int] | None = None
    ) -> None:
        """Loads and checks the folder; `size` is (H, W) of the latents where the network's config says none.

        Raises:
            TeacherError: see `LDMFamily.check`; weights do not fit, or the folder was replaced while it was read.
        """
        from diffusers import UNet2DModel

        LDMFamily().check(folder)
        self.scheduler = unet_folder.scheduler_config(folder)
        own_scheduler(self.scheduler, str(folder))
        steady = SteadyFolder(folder, _deciding_files)
        self.name = name or slug(folder.resolve().name)
        self.fingerprint = steady.fingerprint
        self.device = torch_device(device)
        network = load_component(UNet2DModel, unet_folder.network_folder(folder))
        self.space = latent_space(folder, _AUTOENCODER, sample_shape(network, self.scheduler, size))
        if size is not None and network.config.sample_size is None:
            self.fingerprint = sized_fingerprint(self.fingerprint, size)
        steady.require_unchanged()
        self.memory_format = memory_format_of(network)
        self.network: nn.Module = network.to(self.device, memory_format=self.memory_format)
        self.conditions = conditions_of(unet_folder.conditions_facts(folder))
        self.null = unet_folder.null_class(folder)


class LDMFamily:
    """The row of `LDMPipeline` in `TEACHERS`."""

    folders: tuple[str, ...] = ("scheduler", "unet", _AUTOENCODER)

    def check(self, folder: Path) -> None:
        """See `Family.check`."""
        check_autoencoder(folder, _AUTOENCODER)
        # Missing weights are said last: before they are fetched, all else must be right.
        unet_folder.scheduler_config(folder)
        component_files(folder, _AUTOENCODER)

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """See `Family.deciding_files`; the autoencoder counts, as distances are measured between images."""
        return _deciding_files(folder)

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """See `Family.load`."""
        return LDMTeacher(folder, name=name, device=device)

    def load_sized(self, folder: Path, name: str | None, device: str, size: tuple[int, int]) -> Teacher:
        """See `SizedFamily.load_sized`."""
        return LDMTeacher(folder, name=name, device=device, size=size)


def _deciding_files(folder: Path) -> tuple[Path, ...]:
    return *unet_folder.deciding_files(folder), *component_files(folder, _AUTOENCODER)
