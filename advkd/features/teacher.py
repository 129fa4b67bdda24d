"""The extractor `teacher`: pooled activations of the teacher's own network, for states with a little noise.

It needs no weights but the teacher's, and is there for every teacher with a network. It takes states as they are, so
latents are not decoded; images of a teacher of latents are encoded by its own autoencoder. The noise is the same for
all samples, so features are a function of the state. `make bench-features` measures how far it agrees with others.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from advkd.diffusion import Pixels
from advkd.features.base import Asked, InputRule
from advkd.features.blocks import activations, feature_blocks, pooled, watch
from advkd.features.errors import FeatureError
from advkd.features.pictures import require_images
from advkd.teachers import (
    AUTO,
    FLOAT32,
    NetworkTeacher,
    PreciseTeacher,
    SolverSpec,
    Teacher,
    fitting_solver,
    micro_batch,
    noised_states,
)
from storage.records import initial_noise

TEACHER = "teacher"
LEVELS = (0.05, 0.5)
"""`s_t / a_t` of the states that the network sees."""
MOST_DIMS = 512
"""Longer features are projected to so many numbers, so that 2048 images have a covariance of full rank."""
NOISE_SEED, PROJECTION_SEED = 0, 1
_LAYOUT = 1
_BATCH = 128


def teacher_extractor(asked: Asked) -> "TeacherExtractor":
    """Returns the extractor of a teacher's own features.

    Raises:
        FeatureError: the teacher has no network, or one without blocks, or weights were named.
    """
    if asked.weights is not None:
        raise FeatureError(
            f"the extractor {TEACHER!r} has the teacher's own weights, got {asked.weights!r} besides; leave them out"
        )
    teacher, precision = _network_teacher(asked.teacher)
    if teacher is None or not _blocks(teacher):
        raise FeatureError(
            f"the extractor {TEACHER!r} reads the network of a teacher, a NetworkTeacher with a torch module `network` "
            f"that has a list of blocks, got none in {asked.teacher.name!r}; name another in EvaluateSpec.features, or "
            "'none' for a report without distances"
        )
    return TeacherExtractor(asked.teacher, teacher, precision)


def has_network(teacher: Teacher) -> bool:
    """Returns whether a teacher has a network whose features can be read."""
    inner, _ = _network_teacher(teacher)
    return inner is not None and bool(_blocks(inner))


class TeacherExtractor:
    """An `Extractor` and `StateExtractor`.

    Attributes:
        name: "teacher".
        sha256: over the teacher's fingerprint without guidance, its precision, and everything that is stated here.
        rule: images are taken in the teacher's own shape.
        blocks: names of the blocks that are read.
        condition: what the network is told, in words.
    """

    name = TEACHER

    def __init__(self, teacher: Teacher, network: NetworkTeacher, precision: str) -> None:
        self._whole, self._teacher = teacher, network.unguided_copy()
        named = _blocks(network)
        self.blocks, self._modules = tuple(named), tuple(named.values())
        watch(self._modules)
        self._space = teacher.space
        self.most_dims = MOST_DIMS
        height, width = self._space.image_shape[1:]
        latents = not isinstance(self._space, Pixels)
        values = "of the teacher's latents (the mean of its own encoder)" if latents else "[-1, 1] as they are"
        self.rule = InputRule(
            channels=self._space.image_shape[0], size=height if height == width else None, values=values
        )
        self.condition = self._teacher.null_condition().words
        stated = {
            "layout": _LAYOUT,
            "teacher": network.unguided or network.fingerprint,
            "precision": precision,
            "blocks": self.blocks,
            "condition": self.condition,
            "levels": LEVELS,
            "seeds": [NOISE_SEED, PROJECTION_SEED],
            "most_dims": MOST_DIMS,
        }
        self.sha256 = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()

    def accepts(self, shape: Sequence[int]) -> bool:
        """Returns whether images have the shape of the teacher's own."""
        return tuple(shape) == tuple(self._space.image_shape)

    @cached_property
    def dims(self) -> int:
        """Length of a feature vector; one sample is passed through the network to know."""
        return self.of_states(torch.zeros(1, *self._space.shape)).shape[1]

    def __call__(self, images: Tensor) -> Tensor:
        """Computes the features of images `[B, *image_shape]`: float32 `[B, dims]` on the CPU.

        Raises:
            FeatureError: they are whole numbers, as pixels of [0, 255] are; or the teacher's states are latents of an
                autoencoder that does not encode.
        """
        require_images(images)
        if isinstance(self._space, Pixels):
            return self.of_states(images)
        encode: Any = getattr(self._space, "encode", None)
        if encode is None:
            raise FeatureError(
                f"the extractor {TEACHER!r} encodes images for a teacher of latents, got a space of "
                f"{self._whole.name!r} that only decodes; name another extractor in EvaluateSpec.features"
            )
        parts = images.detach().float().split(_BATCH)
        return torch.cat([self.of_states(encode(part.to(self._teacher.device))) for part in parts])

    @torch.no_grad()
    def of_states(self, states: Tensor) -> Tensor:
        """See `StateExtractor.of_states`."""
        device, shape = self._teacher.device, self._space.shape
        noise = torch.from_numpy(initial_noise(NOISE_SEED, 0, 1, shape)).to(device)
        told = {name: value.to(device) for name, value in self._teacher.null_condition().tensors().items()}
        return torch.cat(
            [self._batch(part.to(device), noise, told) for part in states.detach().float().split(self._at_once)]
        )

    @cached_property
    def _at_once(self) -> int:
        solver = fitting_solver(SolverSpec(kind=AUTO, steps=1), self._whole)
        return micro_batch(self._whole, solver, _BATCH).samples

    def _batch(self, states: Tensor, noise: Tensor, told: dict[str, Tensor]) -> Tensor:
        condition = {name: value.expand(len(states), *value.shape[1:]) for name, value in told.items()}
        features = []
        for level in LEVELS:
            noised = noised_states(self._teacher, states, noise, level)
            with activations(self._modules) as seen:
                self._teacher.predict(noised.seen, noised.time, condition)
            features += [pooled(seen[place]) for place in sorted(seen)]
        return _projected(torch.cat(features, dim=1)).cpu()


def _projected(features: Tensor) -> Tensor:
    """Random projection of long features, which keeps distances about as they are (Johnson and Lindenstrauss 1984)."""
    dims = features.shape[1]
    if dims <= MOST_DIMS:
        return features
    generator = torch.Generator().manual_seed(PROJECTION_SEED)
    matrix = torch.randn(dims, MOST_DIMS, generator=generator) / math.sqrt(MOST_DIMS)
    return features @ matrix.to(features.device)


def _blocks(teacher: NetworkTeacher) -> dict[str, nn.Module]:
    network = getattr(teacher, "network", None)
    return feature_blocks(network) if isinstance(network, nn.Module) else {}


def _network_teacher(teacher: Teacher) -> tuple[NetworkTeacher | None, str]:
    inner, precision = (teacher.inner, teacher.precision) if isinstance(teacher, PreciseTeacher) else (teacher, FLOAT32)
    return (inner if isinstance(inner, NetworkTeacher) else None), precision
