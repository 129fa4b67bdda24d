"""What families of teachers with prompts have in common: their folder, their embeddings, guidance in one call.

A teacher of prompts is whole once it has been told them (`SOURCE#prompts=FILE`). Its text encoder is loaded when the
embeddings are first asked for, and let go; where a store has them already, it is never loaded.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advkd.device import torch_device
from advkd.diffusion import UNCONDITIONAL, Prompts, prompts_facts
from advkd.networks import ENCODE, UNUSED, StoredPrompts
from advkd.teachers.base import SolverSpec, Teacher, derived_fingerprint
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json, slug
from advkd.teachers.guidance import towards
from advkd.teachers.latents import (
    SteadyFolder,
    check_autoencoder,
    check_component,
    component_files,
    latent_space,
    load_component,
)
from advkd.teachers.network import FixedCondition, NetworkTeacher
from advkd.teachers.schedulers import arithmetic_of, own_scheduler, read_scheduler
from advkd.teachers.text_folder import (
    TextParts,
    check_text_parts,
    load_text_parts,
    require_transformers,
    text_files,
    text_sha256,
)

AUTOENCODER = "vae"
_SCHEDULER = Path("scheduler", "scheduler_config.json")
_MOST_BYTES = 2**34
Embedded = Mapping[str, Tensor]


class TextTeacher(NetworkTeacher):
    """A `Teacher` that runs a network in float32, given each sample's prompt; its states are latents of its `vae`.

    Attributes:
        family: the row of its class of pipeline.
        folder: the pipeline's.
        guidance: scale of guidance; 1 is none.
    """

    guidance: float = 1.0
    conditions: Any

    def __init__(self, family: "TextFamily", folder: Path, name: str | None, device: str) -> None:
        """Loads and checks the folder; the text encoder is loaded later.

        Raises:
            TeacherError: see `TextFamily.check`; weights do not fit, transformers is not installed, or the folder was
                replaced while it was read.
        """
        family.check(folder)
        require_transformers(folder)
        self.family, self.folder = family, folder
        self.scheduler = self.completed(read_scheduler(folder / _SCHEDULER))
        own_scheduler(self.scheduler, str(folder))
        steady = SteadyFolder(folder, lambda place: tuple(family.deciding_files(place)))
        self.name = name or slug(folder.resolve().name)
        self.fingerprint = steady.fingerprint
        self.device = torch_device(device)
        network = load_component(family.network_class(), folder / family.network)
        self.config = network.config
        self.space = latent_space(folder, AUTOENCODER, self.default_shape())
        self._encoder = text_sha256(folder, family.text)
        steady.require_unchanged()
        self.network: nn.Module = network.to(self.device)
        self.conditions = UNCONDITIONAL
        self.scheduler = self.completed(self.scheduler)

    @abstractmethod
    def default_shape(self) -> tuple[int, int, int]:
        """Returns `[C, H, W]` of the states where no size is asked for, as the family's pipeline has it."""

    @abstractmethod
    def forward(self, state: Tensor, time: Tensor, text: Embedded) -> Tensor:
        """Returns the network's prediction for states `[B, C, H, W]` and embeddings, each `[B, ...]`."""

    def completed(self, scheduler: dict[str, Any]) -> dict[str, Any]:
        """Returns the scheduler's config with what the family's pipeline tells it besides."""
        return scheduler

    def predict(self, state: Tensor, time: Tensor, condition: Embedded) -> Tensor:
        """See `NetworkTeacher.predict`; under guidance one call for both halves, the empty prompt's first."""
        if self.guidance == 1:
            return self.forward(state, time, condition)
        table = self.conditions.table
        empty = table.rows(torch.tensor([table.empty]))
        both = {
            name: torch.cat([empty[name].to(values.device).expand_as(values), values])
            for name, values in condition.items()
        }
        free, told = self.forward(torch.cat([state, state]), time, both).chunk(2)
        return towards(free, told, self.guidance)

    def null_condition(self) -> FixedCondition:
        """See `NetworkTeacher.null_condition`."""
        if self.conditions is UNCONDITIONAL:
            return super().null_condition()
        conditions = self.conditions
        return FixedCondition("the empty prompt", lambda: conditions.table.rows(torch.tensor([conditions.table.empty])))

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`; with the guidance scale, if any."""
        guidance = {"guidance_scale": self.guidance} if self.guidance > 1 else {}
        return super().solver_config(solver) | guidance

    def guided(self, scale: float) -> "TextTeacher":
        """Returns the teacher under guidance of a scale above 1; they share network and prompts."""
        return self._with(f"guidance_scale {scale!r}", guidance=scale)

    def prompted(self, prompts: Sequence[str], origin: str = "") -> "TextTeacher":
        """Returns the teacher with the prompts of its samples; they share the network.

        Args:
            prompts: texts, distinct.
            origin: `owner/name@commit` of a teacher of the hub, "" of others.
        """
        facts = prompts_facts(
            prompts,
            pipeline=self.family.pipeline,
            encoder=self._encoder,
            tensors=self.family.embedded_shapes(self.folder, self.config),
        )
        conditions = Prompts(facts, lambda: self._embed(prompts, facts, origin))
        return self._with(f"prompts {facts['sha256']}", conditions=conditions)

    def sized(self, size: tuple[int, int]) -> "TextTeacher":
        """Returns the teacher of images of another height and width; they share the network.

        Raises:
            TeacherError: its latents have no such size.
        """
        factor = self.space.image_shape[1] // self.space.shape[1]
        multiple = factor * self.family.multiple(self.config)
        if any(side % multiple for side in size):
            raise TeacherError(
                f"height and width of this teacher's images must be multiples of {multiple}, got {size[0]} x "
                f"{size[1]}; choose others"
            )
        shape = (self.space.shape[0], size[0] // factor, size[1] // factor)
        other = self._with(f"size {size[0]}x{size[1]}", space=latent_space(self.folder, AUTOENCODER, shape))
        other.scheduler = other.completed(dict(other.scheduler))
        return other

    def _with(self, what: str, **changes: Any) -> "TextTeacher":
        other = copy.copy(self)
        other.__dict__ |= changes
        other.fingerprint = derived_fingerprint(self.fingerprint, what)
        return other

    def _embed(self, prompts: Sequence[str], facts: Mapping[str, Any], origin: str) -> StoredPrompts:
        pipe = self.family.encoder_pipeline(load_text_parts(self.folder, self.family.text)).to(self.device)
        return embedded_prompts(pipe, prompts, facts, origin)


def text_pipeline(family: "TextFamily", folder: Path, facts: Mapping[str, Any]) -> Any:
    """Returns a family's pipeline with its text encoders alone, those that the facts of some prompts name.

    Raises:
        TeacherError: the folder's text encoder is another, or cannot be used.
    """
    check_text_parts(folder, family.text)
    if text_sha256(folder, family.text) != facts["encoder"]:
        raise TeacherError(
            f"a text encoder must be the one that the student's teacher had, sha256 {facts['encoder'][:12]}, got "
            f"another in {folder}; name that teacher's pipeline"
        )
    return family.encoder_pipeline(load_text_parts(folder, family.text))


@torch.no_grad()
def embedded_prompts(pipe: Any, prompts: Sequence[str], facts: Mapping[str, Any], origin: str = "") -> StoredPrompts:
    """Embeds prompts one by one, so that what becomes of one does not depend on the others.

    Raises:
        TeacherError: together they are too large, or the encoder gives other shapes than its configs say.
    """
    rows = sum(torch.Size(shape).numel() for shape in facts["tensors"].values())
    if (size := 4 * rows * (len(prompts) + 1)) > _MOST_BYTES:
        raise TeacherError(
            f"embeddings of all prompts must fit {_MOST_BYTES / 2**30:.0f} GiB, got {size / 2**30:.0f} GiB of "
            f"{len(prompts):,}; take fewer prompts"
        )
    table: StoredPrompts = StoredPrompts(prompts=list(prompts), conditioning=dict(facts), origin=origin)
    for number, prompt in enumerate((*prompts, "")):
        for name, values in ENCODE[facts["pipeline"]](pipe, prompt).items():
            buffer = getattr(table, name)[number]
            if values[0].shape != buffer.shape:
                raise TeacherError(
                    f"a text encoder must give what its config says, got {name} of {list(values[0].shape)} for "
                    f"{list(buffer.shape)}; save the pipeline again"
                )
            buffer.copy_(values[0])
    table.eval()
    return table


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    """A row of `TEACHERS` whose teachers take prompts.

    Attributes:
        pipeline: class of diffusers' pipeline.
        network: name of its part with the network.
        classes: classes that the network may be of.
        text: its text encoders and tokenizers.
        teacher: class of the loaded teacher.
        shapes: returns the shapes of a prompt's embeddings, from the pipeline's folder and the network's config.
        check_network: raises `TeacherError` for a network's config that the family cannot use, told its folder.
        multiple: returns of which multiple latents' height and width are.
        arithmetic: how all its networks are trained, of `advkd.teachers.schedulers`; None: as the scheduler says.
    """

    pipeline: str
    network: str
    classes: tuple[str, ...]
    text: TextParts
    teacher: type[TextTeacher]
    shapes: Callable[[Path, Mapping[str, Any]], dict[str, tuple[int, ...]]]
    check_network: Callable[[Mapping[str, Any], Path], None]
    multiple: Callable[[Mapping[str, Any]], int]
    arithmetic: str | None = None
    takes_prompts: bool = True

    @property
    def folders(self) -> tuple[str, ...]:
        """See `Family.folders`."""
        return "scheduler", self.network, AUTOENCODER, *self.text.names

    def check(self, folder: Path) -> None:
        """See `Family.check`."""
        check_component(folder, self.network, self.classes)
        config = read_json(folder / self.network / "config.json")
        self.check_network(config, folder / self.network)
        check_autoencoder(folder, AUTOENCODER)
        arithmetic = arithmetic_of(read_scheduler(folder / _SCHEDULER))
        if self.arithmetic not in (None, arithmetic):
            raise TeacherError(
                f"the scheduler of a {self.pipeline} must be one of {self.arithmetic}, as its networks are trained, "
                f"got a {arithmetic} one in {folder / _SCHEDULER}; save the pipeline with the scheduler of its training"
            )
        check_text_parts(folder, self.text)
        self.embedded_shapes(folder, config)
        self.deciding_files(folder)

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """See `Family.deciding_files`; text encoders and autoencoder count."""
        parts = (component_files(folder, part) for part in (self.network, AUTOENCODER))
        return folder / _SCHEDULER, *(file for files in parts for file in files), *text_files(folder, self.text)

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """See `Family.load`."""
        return self.teacher(self, folder, name, device)

    def embedded_shapes(self, folder: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of a prompt's embeddings; raises `TeacherError` if the configs do not say them."""
        return self.shapes(folder, config)

    def network_class(self) -> Any:
        """Returns diffusers' class of the network."""
        import diffusers

        return getattr(diffusers, self.classes[0])

    def encoder_pipeline(self, parts: Mapping[str, Any]) -> Any:
        """Returns the family's own pipeline with its text encoders alone, which embeds as it always does."""
        import diffusers

        kind = getattr(diffusers, self.pipeline)
        without = {"requires_safety_checker": False} if self.pipeline == "StableDiffusionPipeline" else {}
        return kind(**parts, **dict.fromkeys(UNUSED[self.pipeline]), **without)
