"""The real images of an evaluation: their features, and the images themselves where those can be shown."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from advkd.distances import FeatureSet
from advkd.features import Extractor
from advkd.images import STATISTICS, ImageSet, open_images, published_statistics, real_features
from storage.objects import read_bytes


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


@dataclass(frozen=True, kw_only=True)
class RealSet:
    """A set of real images that was looked at and can be compared with a teacher's.

    Attributes:
        uri: of the set, see `EvaluateSpec.real`.
        sha256: of the images, or of the file of statistics.
        images: the images; None where only statistics are known.
        skip_bad: whether pictures that cannot be read are left out.
    """

    uri: str
    sha256: str
    images: ImageSet | None
    skip_bad: bool

    def features(
        self, extractor: Extractor, shape: Sequence[int], root: str, progress: Callable[[int, int], None]
    ) -> RealFeatures:
        """Returns the set in an extractor's features, which are kept below `root`.

        Args:
            extractor: of the features.
            shape: `[C, H, W]` of the teacher's images.
            root: URI of the cache.
            progress: `progress(done images, all images)`, called only if features are computed.
        """
        features = real_features(self.uri, extractor, shape, root, progress, skip_bad=self.skip_bad)
        return RealFeatures(features=features, sha256=self.sha256, images=self.images)


def open_real(
    real: str | None, extractors: Sequence[Extractor], shape: Sequence[int], *, skip_bad: bool = False
) -> RealSet | None:
    """Looks at a set of real images before anything is computed; None if there is none.

    Args:
        real: URI of the set, see `EvaluateSpec.real`.
        extractors: of the evaluation.
        shape: `[C, H, W]` of the teacher's images.
        skip_bad: leave out pictures that cannot be read.

    Raises:
        ImageSetError: there are no images, or they do not fit.
        ValueError: statistics that are none, or of features of other dimensions than an extractor's.
        StoreError: they cannot be read.
    """
    if real is None:
        return None
    if not real.endswith(STATISTICS):
        images = open_images(real, shape, skip_bad=skip_bad)
        return RealSet(uri=real, sha256=images.sha256, images=images, skip_bad=skip_bad)
    for extractor in extractors:
        published_statistics(real, extractor)
    return RealSet(uri=real, sha256=hashlib.sha256(read_bytes(real)).hexdigest(), images=None, skip_bad=skip_bad)
