"""The clean states of a trajectory store as a set of images: what a teacher made, where no real images are at hand."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from advkd.images.errors import ImageSetError
from advkd.images.image_set import ImageSet
from storage import Reader, exists, join, open_store, read_bytes
from storage.records import IDENTITY, MANIFEST

RULE = "clean states of a trajectory store, clipped to [-1, 1]"
_AT_ONCE = 64


def is_store(uri: str) -> bool:
    """Returns whether a trajectory store lies at a URI; others also have files of the manifest's name."""
    place = join(uri, IDENTITY)
    if not exists(place):
        return False
    try:
        record = json.loads(read_bytes(place))
    except ValueError:
        return False
    return isinstance(record, dict) and "layout_version" in record


def store_images(uri: str, shape: tuple[int, int, int]) -> ImageSet:
    """Returns the clean states of the sealed store at a URI as images.

    Args:
        uri: of the store, in either layout.
        shape: `[C, H, W]` of the images that are asked for.

    Raises:
        ImageSetError: the store holds latents, or states of another shape.
        StoreError: there is no sealed store, or it cannot be read.
    """
    reader = open_store(uri)
    spec = reader.manifest.spec
    if spec.space is not None:
        raise ImageSetError(
            f"real images must be pixels, got a store of latents ({spec.space.get('kind')}) at {uri}; "
            "decode them to pictures, and give these"
        )
    if spec.sample_shape != shape:
        raise ImageSetError(
            f"states of a store must have the shape of the teacher's images, {list(shape)}, got "
            f"{list(spec.sample_shape)} in {uri}; give another store"
        )
    # It lists the checksums of what the store holds.
    sha256 = hashlib.sha256(read_bytes(join(uri, MANIFEST))).hexdigest()
    return ImageSet(
        name=f"clean states of {spec.teacher}",
        sha256=sha256,
        count=reader.manifest.num_samples,
        shape=shape,
        rule=RULE,
        read=lambda numbers: _clean(reader, numbers),
    )


def _clean(reader: Reader, numbers: Sequence[int]) -> Iterator[Tensor]:
    for first in range(0, len(numbers), _AT_ONCE):
        states = reader.read_samples(numbers[first : first + _AT_ONCE], [0])[0]
        yield from torch.from_numpy(np.asarray(states, dtype=np.float32)).clamp(-1.0, 1.0)
