"""Extractors by name, and which of them serve a teacher; distances are measured in their features.

A package adds an extractor as a function of `Asked`, like the rows below, in the group `advkd.features`. Shapes do not
tell what images show: "auto" takes digits for the embedded teachers of digits, and for others their own network.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from advkd.diffusion import Pixels, Space, decoded
from advkd.features.base import Asked, Extractor, StateExtractor
from advkd.features.digits import DIGITS, digits_extractor, shows_digits
from advkd.features.errors import FeatureError
from advkd.features.extractor import BATCH
from advkd.features.teacher import TEACHER, has_network, teacher_extractor
from advkd.teachers import Teacher
from storage.tables import Table

AUTO, NONE = "auto", "none"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")

FEATURES: Table[Callable[[Asked], Extractor]] = Table(
    "advkd.features",
    "an extractor",
    {
        DIGITS: lambda asked: digits_extractor(),
        TEACHER: teacher_extractor,
    },
)


def state_features(extractor: Extractor, space: Space, states: Tensor, device: str) -> Tensor:
    """Features of the images of states `[B, *space.shape]`: float32 `[B, dims]` on the CPU.

    Where images are decoded, no more of them are held than an extractor looks at.
    """
    if isinstance(extractor, StateExtractor):
        return extractor.of_states(states)
    if isinstance(space, Pixels):
        return extractor(states)
    return torch.cat([extractor(decoded(space, part, device)) for part in states.split(BATCH)])


def check_features(features: str) -> None:
    """Checks the names of extractors.

    Raises:
        ValueError: the table does not have a name, or a name is there twice.
    """
    names = _names(features)
    for name in names:
        FEATURES.choose(name, "EvaluateSpec.features")
    if len(set(names)) < len(names):
        raise ValueError(f"EvaluateSpec.features must name each extractor once, got {features!r}; leave one out")


def chosen_features(
    features: str, teacher: Teacher, *, weights: str | None = None, device: str = "cpu"
) -> tuple[Extractor, ...]:
    """Returns the extractors of an evaluation against a teacher; the first one gives the headline.

    Args:
        features: names with commas between them; "auto": digits for the embedded teachers of digits, `teacher` for
            others that have a network; or "none".
        teacher: the teacher whose images are compared.
        weights: of the extractor that needs some: a file, folder or hub id; None: where it looks by itself.
        device: where extractors compute.

    Raises:
        ValueError: a name is unknown.
        FeatureError: an extractor does not take the teacher's images, or its weights are not there or others.
    """
    check_features(features)
    asked = Asked(teacher=teacher, weights=weights, device=device)
    extractors = tuple(_extractor(name, asked) for name in _chosen_names(features, teacher))
    for extractor in extractors:
        if not extractor.accepts(teacher.space.image_shape):
            raise FeatureError(
                f"an extractor must take the teacher's images, got {extractor.name!r} for "
                f"{'x'.join(map(str, teacher.space.image_shape))} of {teacher.name!r}; name another in "
                f"EvaluateSpec.features, or {NONE!r} for a report without distances"
            )
    return extractors


def _chosen_names(features: str, teacher: Teacher) -> list[str]:
    if features != AUTO:
        return _names(features)
    if shows_digits(teacher):
        return [DIGITS]
    return [TEACHER] if has_network(teacher) else []


def _names(features: str) -> list[str]:
    return [] if features in (AUTO, NONE) else [name.strip() for name in features.split(",")]


def _extractor(name: str, asked: Asked) -> Extractor:
    extractor = FEATURES[name](asked)
    if extractor.name != name or not _NAME.fullmatch(name):
        raise FeatureError(
            f"an extractor must have the name of its row, of letters, digits, '_', '.' and '-', got {extractor.name!r} "
            f"in row {name!r}; correct the package that adds it"
        )
    return extractor
