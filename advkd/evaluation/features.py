"""Feature extractors: what distances are measured in, each with its name and the sha256 of its weights.

Which images an extractor is for stands in one table, `EXTRACTORS`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from advkd.evaluation.classifier import FEATURES, WEIGHTS, load_classifier
from advkd.evaluation.errors import EvaluationError

BATCH = 256


@dataclass(frozen=True)
class FeatureExtractor:
    """A frozen network from images to feature vectors.

    Attributes:
        name: appears in the metrics' names, as in `FD(digits)`.
        sha256: of the weights, part of every metric's protocol.
        dims: length of a feature vector.
        network: from `[B, C, H, W]` in [-1, 1] to `[B, dims]`.
    """

    name: str
    sha256: str
    dims: int
    network: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of `[B, C, H, W]` images on the CPU, in batches: float32 `[B, dims]`."""
        batches = torch.split(images.detach().cpu().float(), BATCH)
        return torch.cat([self.network(batch.contiguous()) for batch in batches]).float()


@cache
def digits_extractor() -> FeatureExtractor:
    """The penultimate layer of the embedded digit classifier."""
    classifier = load_classifier()
    return FeatureExtractor("digits", hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), FEATURES, classifier.features)


EXTRACTORS: dict[tuple[int, int, int], Callable[[], FeatureExtractor]] = {(1, 16, 16): digits_extractor}


def features_for(shape: Sequence[int]) -> FeatureExtractor:
    """The extractor for images of shape `[C, H, W]`.

    Raises:
        EvaluationError: there is none for that shape.
    """
    if tuple(shape) not in EXTRACTORS:
        known = ", ".join("x".join(map(str, known_shape)) for known_shape in sorted(EXTRACTORS))
        raise EvaluationError(
            f"an evaluation needs a feature extractor for the images' shape, got {'x'.join(map(str, shape))} where "
            f"there is one for {known} only; add one to advkd.evaluation.features.EXTRACTORS"
        )
    return EXTRACTORS[shape[0], shape[1], shape[2]]()
