"""Features of a set of real images, batch by batch, kept below `<root>/real` under what determines them.

The set's content, the extractor's name and weights, the shape and the rule of the pictures are in the name of what is
kept: a set that changed, or another extractor, never meets old features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath

from torch import Tensor

from advkd.distances import KEPT, Accumulator, FeatureSet, read_statistics, set_arrays, set_of_arrays
from advkd.features import Extractor
from advkd.files import content_digest, read_arrays, write_arrays
from advkd.images.errors import ImageSetError
from advkd.images.image_set import ImageSet
from advkd.images.opening import open_images
from storage.objects import join

LAYOUT = 1
BATCH = 64
LARGEST = 1.001
"""Values beyond are of another range; rounding stays within."""
STATISTICS = ".npz"


def real_features(
    uri: str,
    extractor: Extractor,
    shape: Sequence[int],
    root: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    skip_bad: bool = False,
    looking: Callable[[int, int], None] | None = None,
) -> FeatureSet:
    """Returns the features of the real images at a URI: kept below `root`, or computed and kept.

    Args:
        uri: see `open_images`; or an `.npz` file of statistics (`mu`, `sigma`), which gives moments alone. It does not
            say which extractor it is of: only the number of dimensions is checked.
        extractor: makes the features.
        shape: shape `[C, H, W]` of the teacher's images.
        root: URI of a root.
        progress: `progress(done, total)` images, called only if features are computed.
        skip_bad: leave out pictures that cannot be used.
        looking: `looking(done, total)` pictures, called only if they have to be looked at first.

    Raises:
        ImageSetError: see `open_images`; or the extractor does not take such images.
        ValueError: the statistics are none, or have other dimensions.
        StoreError: the set or the root cannot be read or written.
    """
    if uri.endswith(STATISTICS):
        return published_statistics(uri, extractor)
    images = open_images(uri, shape, skip_bad=skip_bad, progress=looking)
    facts = _facts(images, extractor)
    kept = join(root, "real", f"{content_digest(facts)}.npz")
    if (arrays := read_arrays(kept, facts)) is not None:
        return set_of_arrays(images.name, arrays)
    features = extracted(images.name, images.batches(BATCH), images.count, extractor, progress)
    write_arrays(kept, facts, set_arrays(features))
    return features


def extracted(
    name: str,
    batches: Iterable[Tensor],
    count: int,
    extractor: Extractor,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureSet:
    """Returns the features of `count` images that come in batches `[B, C, H, W]`; none of them is held.

    Of more than `KEPT` images, the features that are kept are spread evenly over all of them: sets are often sorted by
    class.

    Raises:
        ValueError: images are not floats in [-1, 1], features are not finite or have other dimensions, or there is only
            one image.
    """
    accumulator = Accumulator(extractor.dims, expected=count)
    for batch in batches:
        _check_range(name, batch)
        accumulator.add(extractor(batch))
        if progress is not None:
            progress(accumulator.count, count)
    return accumulator.finished(name)


def _check_range(name: str, images: Tensor) -> None:
    if not images.is_floating_point() or not float(images.abs().amax()) <= LARGEST:
        raise ValueError(
            f"images must be floats in [-1, 1], got {images.dtype} from {images.min():.4g} to {images.max():.4g} in "
            f"{name}; scale 8-bit values by x / 127.5 - 1"
        )


def published_statistics(uri: str, extractor: Extractor) -> FeatureSet:
    """Returns the statistics that others published, as a set without features.

    Raises:
        ValueError: they are none, or have other dimensions than the extractor.
        StoreError: they cannot be read.
    """
    moments = read_statistics(uri)
    if moments.dims != extractor.dims:
        raise ValueError(
            f"statistics must be of the extractor's features, got {moments.dims} dimensions in {uri} and "
            f"{extractor.dims} of {extractor.name}; choose the extractor that they were made with"
        )
    return FeatureSet(name=f"real {PurePath(uri).name}", moments=moments, features=None)


def _facts(images: ImageSet, extractor: Extractor) -> Mapping[str, object]:
    if not extractor.accepts(images.shape):
        raise ImageSetError(
            f"the extractor {extractor.name} must take images of the teacher's shape, got {list(images.shape)}; "
            "choose another one"
        )
    return {
        "layout": LAYOUT,
        "images": images.sha256,
        "count": images.count,
        "shape": list(images.shape),
        "rule": images.rule,
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "dims": extractor.dims,
        "kept": KEPT,
    }
