"""The real images of an evaluation: their features, and the images themselves where those can be shown."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from advkd.distances import FeatureSet
from advkd.features import Extractor
from advkd.images import ImageSet, open_images, real_features
from storage.objects import read_bytes

STATISTICS = ".npz"


@dataclass(frozen=True, kw_only=True)
class RealFeatures:
    """A set of real images in one extractor's features.

    Attributes:
        features: features of the set.
        sha256: of the images, or of the file of statistics.
        images: the images; None where only statistics are known.
    """

    features: FeatureSet
    sha256: str
    images: ImageSet | None


def real_sha256(real: str, shape: Sequence[int]) -> str:
    """Returns the sha256 of a set of real images, after it was looked at.

    Args:
        real: URI of the set, see `EvaluateSpec.real`.
        shape: `[C, H, W]` of the teacher's images.

    Raises:
        ImageSetError: there are no images, or they do not fit.
        StoreError: they cannot be read.
    """
    if real.endswith(STATISTICS):
        return hashlib.sha256(read_bytes(real)).hexdigest()
    return open_images(real, shape).sha256


def opened_real(
    real: str | None,
    extractors: Sequence[Extractor],
    shape: Sequence[int],
    root: str,
    progress: Callable[[int, int], None],
) -> tuple[RealFeatures | None, ...]:
    """Returns the features of the real images, one set per extractor; None for each if there are none.

    Args:
        real: URI of the set, see `EvaluateSpec.real`.
        extractors: of the features.
        shape: `[C, H, W]` of the teacher's images.
        root: URI of the cache.
        progress: `progress(done images, all images)`, called only if features are computed.

    Raises:
        ImageSetError: see `real_sha256`.
        ValueError: statistics of features of other dimensions.
    """
    if real is None:
        return (None,) * len(extractors)
    sha256 = real_sha256(real, shape)
    images = None if real.endswith(STATISTICS) else open_images(real, shape)
    return tuple(
        RealFeatures(features=real_features(real, extractor, shape, root, progress), sha256=sha256, images=images)
        for extractor in extractors
    )
