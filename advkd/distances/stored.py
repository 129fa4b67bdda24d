"""A set of features as the arrays of a file, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from advkd.distances.feature_set import FeatureSet
from advkd.distances.moments import Moments


def set_arrays(features: FeatureSet, dtype: npt.DTypeLike = np.float32) -> dict[str, npt.NDArray[Any]]:
    """Returns a set as arrays: exact moments, and the kept features rounded to a type.

    Args:
        features: set with kept features.
        dtype: of these.
    """
    assert features.features is not None
    return {
        "count": np.array(features.count),
        "mean": features.moments.mean.numpy(),
        "covariance": features.moments.covariance.numpy(),
        "features": features.features.numpy().astype(dtype),
    }


def set_of_arrays(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> FeatureSet:
    """Returns the set of `set_arrays` under a name."""
    moments = Moments(
        count=int(arrays["count"]),
        mean=torch.from_numpy(arrays["mean"]),
        covariance=torch.from_numpy(arrays["covariance"]),
    )
    return FeatureSet(name=name, moments=moments, features=torch.from_numpy(arrays["features"].astype(np.float32)))
