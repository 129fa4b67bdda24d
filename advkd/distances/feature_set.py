"""A set of images as distances see it: the moments of all features, and some of the features themselves.

An `Accumulator` makes it batch by batch and never holds more than `KEPT` features, whatever the set's size. Kept are
the first ones of generated images, which are of the same noises in every set, and evenly spread ones of a set of known
size, which may be sorted.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.distances.moments import Moments

KEPT = 10_000
"""Number of features that are kept for the distances that need more than moments."""
BLOCK = 1024
"""Number of features that are folded into the moments at once, whatever the batches: so batches change no bit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """A set of images, in the features of one extractor.

    Attributes:
        name: name of the set in reports and messages.
        moments: moments of all its features.
        features: `min(count, KEPT)` of the features, float32 `[K, D]`; None where only statistics are known.
    """

    name: str
    moments: Moments
    features: Tensor | None

    def __post_init__(self) -> None:
        if self.moments.count == 1:
            raise ValueError(f"a covariance needs at least two samples, got 1 in {self.name}; evaluate more")
        if self.features is None:
            return
        kept = min(self.moments.count, KEPT)
        if self.features.shape != (kept, self.moments.dims):
            raise ValueError(
                f"a set of {self.moments.count} images keeps features {[kept, self.moments.dims]}, got "
                f"{list(self.features.shape)} in {self.name}; make it by an Accumulator"
            )

    @property
    def count(self) -> int:
        """Number of images; 0 if it is not known."""
        return self.moments.count

    @property
    def dims(self) -> int:
        """Number of dimensions of a feature."""
        return self.moments.dims


def spread(count: int) -> Tensor:
    """Returns the increasing numbers of the images whose features are kept of a set of known size, int64 `[K]`."""
    kept = min(count, KEPT)
    return torch.arange(kept) * count // max(1, kept)


class Accumulator:
    """Takes features batch by batch; holds `KEPT` of them and running moments in float64.

    Args:
        dims: dimensions of a feature.
        expected: number of images, if the kept features are to be spread over all of them; None for the first ones.
    """

    def __init__(self, dims: int, expected: int | None = None) -> None:
        self.count = 0
        self._expected = expected
        self._chosen = torch.arange(KEPT) if expected is None else spread(expected)
        self._dims = dims
        self._kept: list[Tensor] = []
        self._waiting: list[Tensor] = []
        self._moments: Moments | None = None

    def add(self, features: Tensor) -> None:
        """Takes the features `[B, D]` of the next images.

        Raises:
            ValueError: they have other dimensions, or hold NaN or infinity.
        """
        if features.ndim != 2 or features.shape[1] != self._dims:
            raise ValueError(
                f"features must have the shape [B, {self._dims}], got {list(features.shape)}; use one extractor"
            )
        if not torch.isfinite(features).all():
            wrong = self.count + int((~torch.isfinite(features)).any(1).nonzero()[0])
            raise ValueError(
                f"features must be finite, got NaN or infinity for image {wrong}; check the image and the extractor"
            )
        features = features.detach().cpu()
        edges = torch.tensor([self.count, self.count + len(features)])
        first, last = torch.searchsorted(self._chosen, edges).tolist()
        if first < last:
            self._kept.append(features[self._chosen[first:last] - self.count].float())
        self.count += len(features)
        self._waiting.append(features.clone())
        if sum(map(len, self._waiting)) >= BLOCK:
            self._fold()

    def finished(self, name: str) -> FeatureSet:
        """Returns the set of all images so far.

        Raises:
            ValueError: there are fewer than two, or not as many as expected.
        """
        if self._expected not in (None, self.count):
            raise ValueError(
                f"{name} must have the expected {self._expected} images, got {self.count}; read the set again"
            )
        if self.count < 2:
            raise ValueError(f"a covariance needs at least two samples, got {self.count} in {name}; evaluate more")
        waiting = torch.cat(self._waiting) if self._waiting else torch.empty(0, self._dims)
        moments = self._with(waiting) if len(waiting) else self._moments
        assert moments is not None
        return FeatureSet(name=name, moments=moments, features=torch.cat(self._kept))

    def _fold(self) -> None:
        waiting = torch.cat(self._waiting)
        while len(waiting) >= BLOCK:
            self._moments = self._with(waiting[:BLOCK])
            waiting = waiting[BLOCK:]
        self._waiting = [waiting.clone()] if len(waiting) else []

    def _with(self, features: Tensor) -> Moments:
        moments = Moments.of(features)
        return moments if self._moments is None else self._moments.merged(moments)


def collected(name: str, features: Tensor | Iterable[Tensor]) -> FeatureSet:
    """Returns the set of features `[N, D]`, or of batches of them; see `Accumulator`.

    Raises:
        ValueError: fewer than two, of several dimensions, or not finite.
    """
    accumulator: Accumulator | None = None
    for batch in (features,) if isinstance(features, Tensor) else features:
        if accumulator is None:
            accumulator = Accumulator(batch.shape[-1])
        accumulator.add(batch)
    return (accumulator or Accumulator(0)).finished(name)


def rank_deficient(features: FeatureSet) -> bool:
    """Returns whether the set has too few images for a covariance of full rank: not more images than dimensions.

    The Frechet distance is defined all the same, but then depends mostly on the number of images.
    """
    return 0 < features.count <= features.dims


def check_comparable(a: FeatureSet, b: FeatureSet) -> None:
    """Raises `ValueError` if two sets have features of different dimensions, so of different extractors."""
    if a.dims != b.dims:
        raise ValueError(
            f"sets that are compared have features of one extractor, got {a.dims} dimensions in {a.name} and {b.dims} "
            f"in {b.name}; compute both with the same"
        )
