"""Feature extractors by name, each with the sha256 of its weights; distances are measured in their features.

A package adds an extractor as a function without arguments, like `digits_extractor`, in the group `advkd.features`.
Shapes do not tell what images show, so "auto" measures distances only for the embedded teachers.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from advkd.diffusion import Pixels, Space, decoded
from advkd.evaluation.classifier import FEATURES as DIGIT_FEATURES
from advkd.evaluation.classifier import WEIGHTS, load_classifier
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.fidelity import Reader
from advkd.teachers import DIGITS_CLASSES_FOLDER, DIGITS_FOLDER, Teacher, folder_fingerprint, load_teacher
from storage.tables import Table

AUTO, NONE, DIGITS = "auto", "none", "digits"
BATCH = 256
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class Extractor(Protocol):
    """Maps images to feature vectors."""

    @property
    def name(self) -> str:
        """Name in the table; part of the metrics' names, as in `FD(digits)`."""

    @property
    def sha256(self) -> str:
        """sha256 of the weights, part of every metric's protocol."""

    @property
    def dims(self) -> int:
        """Length of a feature vector."""

    def accepts(self, shape: Sequence[int]) -> bool:
        """Returns whether the extractor takes images `[C, H, W]` of this shape."""

    def __call__(self, images: Tensor) -> Tensor:
        """Computes the features of images `[B, C, H, W]` in [-1, 1]: float32 `[B, dims]` on the CPU."""


@dataclass(frozen=True)
class FeatureExtractor:
    """An extractor with a frozen network.

    Attributes:
        name: see `Extractor`.
        sha256: see `Extractor`.
        dims: see `Extractor`.
        network: maps `[B, C, H, W]` in [-1, 1] to `[B, dims]`.
        shape: shape `[C, H, W]` of the images that the network takes; None: any.
        reader: classifier that reads the features, if there is one.
    """

    name: str
    sha256: str
    dims: int
    network: Callable[[Tensor], Tensor]
    shape: tuple[int, ...] | None = None
    reader: Reader | None = None

    def accepts(self, shape: Sequence[int]) -> bool:
        """Returns whether the extractor takes images `[C, H, W]` of this shape."""
        return self.shape is None or tuple(shape) == self.shape

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Computes the features of images `[B, C, H, W]` in batches: float32 `[B, dims]` on the CPU."""
        batches = torch.split(images.detach().cpu().float(), BATCH)
        return torch.cat([self.network(batch.contiguous()) for batch in batches]).float()


@cache
def digits_extractor() -> FeatureExtractor:
    """Returns the extractor of the penultimate layer of the embedded digit classifier."""
    classifier = load_classifier()
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    reader = Reader(tuple(map(str, range(10))), classifier.logits)
    return FeatureExtractor(DIGITS, sha256, DIGIT_FEATURES, classifier.features, (1, 16, 16), reader)


FEATURES: Table[Callable[[], Extractor]] = Table("advkd.features", "an extractor", {DIGITS: digits_extractor})


def state_features(extractor: Extractor, space: Space, states: Tensor, device: str) -> Tensor:
    """Features of the images of states `[B, *space.shape]`: float32 `[B, dims]` on the CPU.

    Where images are decoded, no more of them are held than an extractor looks at.
    """
    if isinstance(space, Pixels):
        return extractor(states)
    return torch.cat([extractor(decoded(space, part, device)) for part in states.split(BATCH)])


def check_features(features: str) -> None:
    """Checks the names of extractors.

    Raises:
        ValueError: the table does not have a name.
    """
    for name in _names(features):
        FEATURES.choose(name, "EvaluateSpec.features")


def chosen_features(features: str, teacher: Teacher) -> tuple[Extractor, ...]:
    """Returns the extractors of an evaluation against a teacher; the first one gives the headline.

    Args:
        features: names with commas between them; "auto": digits for the embedded teachers of digits, none for others;
            or "none".
        teacher: the teacher whose images are compared.

    Raises:
        ValueError: a name is unknown.
        EvaluationError: an extractor does not take the teacher's images.
    """
    check_features(features)
    if features == AUTO:
        return (digits_extractor(),) if shows_digits(teacher) else ()
    extractors = tuple(_extractor(name) for name in _names(features))
    for extractor in extractors:
        if not extractor.accepts(teacher.space.image_shape):
            raise EvaluationError(
                f"an extractor must take the teacher's images, got {extractor.name!r} for "
                f"{'x'.join(map(str, teacher.space.image_shape))} of {teacher.name!r}; name another in "
                f"EvaluateSpec.features, or {NONE!r} for a report without distances"
            )
    return extractors


def shows_digits(teacher: Teacher) -> bool:
    """Returns whether a teacher, guidance aside, is an embedded one, whose images are digits."""
    fingerprint = getattr(teacher, "unguided", "") or teacher.fingerprint
    return digits_extractor().accepts(teacher.space.image_shape) and fingerprint in _fingerprints_of_digits()


@cache
def _fingerprints_of_digits() -> frozenset[str]:
    folders = (folder_fingerprint(folder) for folder in (DIGITS_FOLDER, DIGITS_CLASSES_FOLDER))
    return frozenset((*folders, load_teacher("mixture").fingerprint))


def _names(features: str) -> list[str]:
    return [] if features in (AUTO, NONE) else [name.strip() for name in features.split(",")]


def _extractor(name: str) -> Extractor:
    extractor = FEATURES[name]()
    if extractor.name != name or not _NAME.fullmatch(name):
        raise EvaluationError(
            f"an extractor must have the name of its row, of letters, digits, '_', '.' and '-', got {extractor.name!r} "
            f"in row {name!r}; correct the package that adds it"
        )
    return extractor
