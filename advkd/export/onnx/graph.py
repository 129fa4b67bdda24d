"""A student as one network from noise to finished images: what is traced, by which inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advkd.diffusion import Conditions, Space, conditions_of, drawn_condition, embedded, space_of
from advkd.networks import AutoencoderSpace, adopt_embeddings, decoder_places
from advkd.students import AnyStudent, load_student, student_files
from storage.records import initial_noise

NOISE, IMAGES, STATE = "noise", "images", "state"
"""Names of the input that every student has, of the output that every export has, and how those of states begin."""


@dataclass(frozen=True)
class Subject:
    """What is exported: a student on the CPU, with what decodes its states and what draws its conditions.

    Attributes:
        student: in evaluation mode.
        space: of its states, with its files.
        conditions: with the embeddings of its prompts, if it takes some.
        folder: of its config and weights.
    """

    student: AnyStudent
    space: Space
    conditions: Conditions
    folder: Path

    def inputs(self, seed: int, first: int, count: int) -> dict[str, Tensor]:
        """Returns noise and conditions of samples from `first` on, `[count, ...]` each, as `advkd sample` does."""
        drawn = initial_noise(seed, first, first + count, self.student.sample_shape)
        condition = drawn_condition(self.conditions, seed, range(first, first + count))
        return {NOISE: torch.from_numpy(drawn), **self.told(condition)}

    def told(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns conditions as the exported network takes them: whole numbers and float32."""
        given = embedded(self.conditions, condition)
        return {name: values.float() if values.is_floating_point() else values for name, values in given.items()}


def open_subject(folder: Path) -> Subject:
    """Loads a student, and all that it needs to make images.

    Raises:
        StudentError: the folder holds no usable student.
        ValueError: the autoencoder of its latents or the embeddings of its prompts are not beside it.
    """
    student = load_student(folder)
    weights = student_files(folder).weights.parent
    conditions = conditions_of(student.config.get("conditioning"))
    adopt_embeddings(conditions, weights)
    space = space_of(student.config.get("space"), student.sample_shape, decoder_places(weights))
    return Subject(student, space, conditions, weights)


class ImageNetwork(nn.Module):
    """Noise `[B, C, H, W]` and conditions `[B, ...]` to images `[B, *image_shape]` in [0, 1], and the predicted states.

    Inputs and outputs are float32, whatever it computes in; states are the student's own, not decoded.
    """

    def __init__(self, subject: Subject, *, states: bool, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        # diffusers' own `to` warns of models that keep a part in float32, which students do not.
        self.student = nn.Module.to(subject.student, dtype)
        coded = subject.space if isinstance(subject.space, AutoencoderSpace) else None
        self.space, self.coded = subject.space, coded
        # Weights that are traced must be those of a part of this network.
        self.decoder = None if coded is None else nn.Module.to(coded.network, dtype)
        self.names = tuple(subject.inputs(0, 0, 1))[1:]
        self.states, self.dtype = states, dtype

    def forward(self, noise: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Returns images, followed by the K states where they are asked for."""
        given = {name: self._cast(values) for name, values in zip(self.names, conditions, strict=True)}
        start = self._cast(noise)
        predicted = self.student.predictions(start, **given) if self.states else [self.student(start, **given)]
        clean = self._decoded(predicted[-1])
        images = (clean.float() / 2 + 0.5).clamp(0, 1)
        return (images, *(state.float() for state in predicted)) if self.states else (images,)

    def _decoded(self, states: Tensor) -> Tensor:
        return self.space.decode(states) if self.coded is None else self.coded.decode_at_once(states)

    def _cast(self, values: Tensor) -> Tensor:
        return values.to(self.dtype) if values.is_floating_point() else values


def output_names(subject: Subject, *, states: bool) -> tuple[str, ...]:
    """Returns the names of an export's outputs in their order: `images`, and `state_1 ... state_K` if asked for."""
    count = len(subject.student.timesteps) - 1 if states else 0
    return (IMAGES, *(f"{STATE}_{k}" for k in range(1, count + 1)))


@torch.no_grad()
def outputs_of(network: ImageNetwork, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Returns what the network computes in torch; see `ImageNetwork.forward`."""
    computed: Any = network(*inputs.values())
    return tuple(computed)


def named_outputs(subject: Subject, network: ImageNetwork) -> dict[str, Tensor]:
    """Returns what the network computes in torch of one noise, by the names of an export's outputs."""
    outputs = outputs_of(network, subject.inputs(0, 0, 1))
    return dict(zip(output_names(subject, states=network.states), outputs, strict=True))
