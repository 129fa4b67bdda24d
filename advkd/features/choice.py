"""Extractors by name, and which of them serve a teacher; distances are measured in their features.

A package adds an extractor as a function of `Asked`, like the rows below, in the group `advkd.features`. Without a
package, `package.module:factory` or the file of a network (`advkd.features.declared`) stand for a name. Shapes do not
tell what images show: "auto" takes digits for the embedded teachers of digits, and for others their own network.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advkd.diffusion import Pixels, Space, decoded
from advkd.features.base import Asked, Extractor, StateExtractor
from advkd.features.declared import declared_extractor, is_network_file
from advkd.features.digits import DIGITS, asked_for_digits, shows_digits
from advkd.features.efficientnet import EFFICIENTNET, efficientnet_extractor
from advkd.features.errors import FeatureError
from advkd.features.extractor import BATCH
from advkd.features.factory import made_extractor
from advkd.features.inception import INCEPTION, inception_extractor
from advkd.features.teacher import TEACHER, has_network, teacher_extractor
from advkd.features.transformers_models import CLIP, DINOV2, clip_extractor, dinov2_extractor
from advkd.runtime import is_factory
from advkd.teachers import Teacher
from storage.tables import Table

AUTO, NONE = "auto", "none"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")

FEATURES: Table[Callable[[Asked], Extractor]] = Table(
    "advkd.features",
    "an extractor",
    {
        DIGITS: asked_for_digits,
        TEACHER: teacher_extractor,
        INCEPTION: inception_extractor,
        DINOV2: dinov2_extractor,
        CLIP: clip_extractor,
        EFFICIENTNET: efficientnet_extractor,
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
        if not is_factory(name) and not is_network_file(name):
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
        weights: of the extractor: a file, folder, hub id, or "fetch"; of several, NAME=WEIGHTS with commas between
            them. None: they look by themselves.
        device: where extractors compute.

    Raises:
        ValueError: a name is unknown.
        FeatureError: an extractor does not take the teacher's images, or its weights are not there or others.
    """
    check_features(features)
    names = _chosen_names(features, teacher)
    given = _weights(names, weights)
    extractors = tuple(
        _extractor(name, Asked(teacher=teacher, weights=given.get(name), device=device)) for name in names
    )
    _check_names([extractor.name for extractor in extractors])
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


def _weights(names: Sequence[str], weights: str | None) -> dict[str, str]:
    """Weights by the name of their extractor."""
    if weights is None:
        return {}
    if len(names) == 1 and not weights.startswith(f"{names[0]}="):
        return {names[0]: weights}
    pairs = [part.strip().partition("=") for part in weights.split(",")]
    given = {name: place for name, _, place in pairs}
    wrong = [name for name, _, place in pairs if name not in names or not place]
    if wrong or len(given) < len(pairs):
        raise ValueError(
            f"weights of several extractors must be named, as in 'inception=FILE,clip=FOLDER', got {weights!r} for "
            f"{list(names)}; write one of these names before each"
        )
    return given


def _extractor(name: str, asked: Asked) -> Extractor:
    if is_network_file(name):
        return declared_extractor(name, asked)
    if is_factory(name):
        return made_extractor(name, asked)
    extractor = FEATURES[name](asked)
    if extractor.name != name:
        raise FeatureError(
            f"an extractor must have the name of its row, got {extractor.name!r} in row {name!r}; correct the package "
            "that adds it"
        )
    return extractor


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise FeatureError(
                "extractors must have names of their own, of letters, digits, '_', '.' and '-', got "
                f"{', '.join(map(repr, names))}; rename one"
            )
