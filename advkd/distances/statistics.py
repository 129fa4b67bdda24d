"""Moments of a set in an `.npz` file, as ADM, EDM and pytorch-fid publish them: `mu` `[D]` and `sigma` `[D, D]`.

Only the two arrays are read, whatever else the file holds, and never a pickle.
"""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.npyio import NpzFile

from advkd.distances.moments import Moments
from advkd.files import opened
from storage.objects import write_bytes

ASYMMETRY = 1e-4
"""Largest difference between sigma and its transpose, as a share of its largest entry: float32 sums differ by less."""

Array = npt.NDArray[Any]


def read_statistics(uri: str) -> Moments:
    """Reads the moments in an `.npz` file; their count is 0, which is unknown, unless `write_statistics` wrote it.

    Raises:
        ValueError: the file is no `.npz`, lacks `mu` or `sigma`, or these are not the finite moments of one set.
        StoreError: the file cannot be read.
    """
    with opened(uri) as file:
        try:
            mean, covariance, count = _arrays(np.load(file, allow_pickle=False))
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _refused(uri, str(error) or "an empty file") from error
    for name, array in (("mu", mean), ("sigma", covariance)):
        if array.dtype.kind not in "fiu":
            raise _refused(uri, f"{array.dtype} in {name}")
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or len(mean) == 0:
        raise _refused(uri, f"mu {list(mean.shape)} and sigma {list(covariance.shape)}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise _refused(uri, "NaN or infinity")
    largest = np.abs(covariance).max()
    if (
        np.abs(covariance - covariance.T).max() > ASYMMETRY * largest
        or covariance.diagonal().min() < -ASYMMETRY * largest
    ):
        raise _refused(uri, "a sigma that is no covariance: not symmetric, or negative on its diagonal")
    return Moments(
        count=count,
        mean=torch.from_numpy(mean.astype(np.float64)),
        covariance=torch.from_numpy(covariance.astype(np.float64)),
    )


def write_statistics(uri: str, moments: Moments) -> None:
    """Writes moments as pytorch-fid does, which reads them; beside them their `count`, which it does not look at."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, mu=moments.mean.numpy(), sigma=moments.covariance.numpy(), count=np.array(moments.count)
    )
    write_bytes(uri, buffer.getvalue())


def _arrays(file: object) -> tuple[Array, Array, int]:
    if not isinstance(file, NpzFile):
        raise ValueError("a single array")
    with file:
        if missing := [name for name in ("mu", "sigma") if name not in file.files]:
            raise ValueError(f"no {' and no '.join(missing)} among {', '.join(sorted(file.files)) or 'nothing'}")
        return file["mu"], file["sigma"], int(file["count"]) if "count" in file.files else 0


def _refused(uri: str, fact: str) -> ValueError:
    return ValueError(
        f"statistics are an .npz file with mu [D] and sigma [D, D], as pytorch-fid writes them, got {fact} in {uri}; "
        "give the statistics of the real images, or the images"
    )
