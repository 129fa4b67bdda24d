"""A teacher from a diffusers `DiTPipeline`: a class-conditional transformer whose states are latents of its `vae`.

Diffusion Transformers (https://arxiv.org/abs/2212.09748). Loads safetensors only and classes from a fixed table only;
never runs remote code.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advkd.device import torch_device
from advkd.diffusion import conditions_of
from advkd.teachers.base import SolverSpec, Teacher, derived_fingerprint
from advkd.teachers.class_labels import class_facts
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json, slug
from advkd.teachers.guidance import combined, doubled
from advkd.teachers.latents import (
    SteadyFolder,
    check_autoencoder,
    check_component,
    component_files,
    latent_space,
    load_component,
)
from advkd.teachers.network import FixedCondition, NetworkTeacher
from advkd.teachers.schedulers import own_scheduler, read_scheduler

_AUTOENCODER, _NETWORK = "vae", "transformer"
_SCHEDULER = Path("scheduler", "scheduler_config.json")


class DiTTeacher(NetworkTeacher):
    """A `Teacher` that runs the `DiTTransformer2DModel` of a `DiTPipeline` in float32, given each sample's class."""

    def __init__(self, folder: Path, name: str | None = None, device: str = "cpu") -> None:
        """Loads and checks the folder.

        Raises:
            TeacherError: see `DiTFamily.check`; weights do not fit, or the folder was replaced while it was read.
        """
        from diffusers import DiTTransformer2DModel

        DiTFamily().check(folder)
        self.scheduler = read_scheduler(folder / _SCHEDULER)
        own_scheduler(self.scheduler, str(folder))
        steady = SteadyFolder(folder, _deciding_files)
        self.name = name or slug(folder.resolve().name)
        self.fingerprint = steady.fingerprint
        self.device = torch_device(device)
        network = load_component(DiTTransformer2DModel, folder / _NETWORK)
        self.space = latent_space(folder, _AUTOENCODER, _sample_shape(network.config))
        self.conditions = conditions_of(_conditions_facts(folder))
        self.guidance = 1.0
        self._null = network.config.num_embeds_ada_norm
        self._learned = str(self.scheduler.get("variance_type", "")).startswith("learned")
        steady.require_unchanged()
        self.network: nn.Module = network.to(self.device)

    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """See `NetworkTeacher.predict`; the variance is left out where the scheduler does not know of it."""
        labels, channels = condition["class_labels"], state.shape[1]
        if self.guidance > 1:
            # One call for both halves, with and without classes, as in `DiTPipeline`.
            state, labels = doubled(state, labels, self._null)
        times = time.to(state.device).expand(len(state))
        predicted: Tensor = self.network(state, timestep=times, class_labels=labels).sample
        if self.guidance > 1:
            predicted = combined(predicted, self.guidance, channels)
        return predicted if self._learned else predicted[:, :channels]

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`; with the guidance scale, if any."""
        guidance = {"guidance_scale": self.guidance} if self.guidance > 1 else {}
        return super().solver_config(solver) | guidance

    def null_condition(self) -> FixedCondition:
        """See `NetworkTeacher.null_condition`."""
        null = self._null
        return FixedCondition(f"class {null}, which stands for none", lambda: {"class_labels": torch.tensor([null])})

    def guided(self, scale: float) -> "DiTTeacher":
        """Returns the teacher under classifier-free guidance of a scale above 1; they share the network."""
        other = copy.copy(self)
        other.guidance = scale
        other.unguided = self.fingerprint
        other.fingerprint = derived_fingerprint(self.fingerprint, f"guidance_scale {scale!r}")
        return other


class DiTFamily:
    """The row of `DiTPipeline` in `TEACHERS`."""

    folders: tuple[str, ...] = ("scheduler", _NETWORK, _AUTOENCODER)

    def check(self, folder: Path) -> None:
        """See `Family.check`."""
        check_component(folder, _NETWORK, ("DiTTransformer2DModel",))
        _conditions_facts(folder)
        check_autoencoder(folder, _AUTOENCODER)
        read_scheduler(folder / _SCHEDULER)
        _deciding_files(folder)

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """See `Family.deciding_files`; the autoencoder counts, as distances are measured between images."""
        return _deciding_files(folder)

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """See `Family.load`."""
        return DiTTeacher(folder, name=name, device=device)


def _deciding_files(folder: Path) -> tuple[Path, ...]:
    parts = (component_files(folder, part) for part in (_NETWORK, _AUTOENCODER))
    return folder / _SCHEDULER, *(file for files in parts for file in files)


def _conditions_facts(folder: Path) -> dict[str, Any] | None:
    config = read_json(folder / _NETWORK / "config.json")
    return class_facts(
        {"num_class_embeds": config.get("num_embeds_ada_norm")}, read_json(folder / "model_index.json"), folder
    )


def _sample_shape(config: Any) -> tuple[int, int, int]:
    out = config.in_channels if config.out_channels is None else config.out_channels
    if out not in (config.in_channels, 2 * config.in_channels):
        raise TeacherError(
            f"a teacher must map states to states, and perhaps to their variances, got {config.in_channels} channels "
            f"in and {out} out; choose another teacher"
        )
    return config.in_channels, config.sample_size, config.sample_size
