"""Mean and covariance of a set of features, which merge: of two parts of a set they make those of the whole.

Merging: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean and covariance of the features of a set."""

    count: int
    """Number of samples; 0 if it is not known, as in statistics that others published."""
    mean: Tensor
    """Float64 `[D]`."""
    covariance: Tensor
    """Float64 `[D, D]`, unbiased, as `numpy.cov`; zeros for a single sample."""

    def __post_init__(self) -> None:
        dims = len(self.mean)
        if self.mean.ndim != 1 or self.covariance.shape != (dims, dims) or self.count < 0:
            raise ValueError(
                "moments are a mean [D], a covariance [D, D] and a count from 0 on, got "
                f"{list(self.mean.shape)}, {list(self.covariance.shape)} and {self.count}; give those of one set"
            )
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.covariance).all()):
            raise ValueError("moments must be finite, got NaN or infinity; compute them from finite features")

    @property
    def dims(self) -> int:
        """Number of dimensions of the features."""
        return len(self.mean)

    @staticmethod
    def of(features: Tensor) -> "Moments":
        """Returns the moments of features `[N, D]`, N at least 1."""
        if features.ndim != 2 or len(features) == 0:
            raise ValueError(
                f"moments need features [N, D] of at least one sample, got {list(features.shape)}; give more samples"
            )
        features = features.double()
        mean = features.mean(0)
        centred = features - mean
        return Moments(count=len(features), mean=mean, covariance=centred.T @ centred / max(1, len(features) - 1))

    def merged(self, other: "Moments") -> "Moments":
        """Returns the moments of both sets together.

        Raises:
            ValueError: the features have other dimensions, or a count is unknown.
        """
        if self.dims != other.dims:
            raise ValueError(
                f"moments that merge have the same dimensions, got {self.dims} and {other.dims}; "
                "take both from one extractor"
            )
        if not (self.count and other.count):
            raise ValueError(
                "moments that merge know their number of samples, got 0, which is unknown; compute them from images"
            )
        count = self.count + other.count
        apart = other.mean - self.mean
        scatter = (self.count - 1) * self.covariance + (other.count - 1) * other.covariance
        scatter += torch.outer(apart, apart) * (self.count * other.count / count)
        return Moments(
            count=count, mean=self.mean + apart * (other.count / count), covariance=scatter / max(1, count - 1)
        )
