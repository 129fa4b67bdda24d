"""Opens a set of real images by its URI, on disk or in an object store, and refuses what cannot be a reference.

What happens with a picture that is not as it should be:

| picture | what happens |
|---|---|
| empty, truncated, corrupt, or something else | the first is named and all are counted; `skip_bad` leaves them out |
| more than 64 MiB or 178 956 970 pixels | the same, before it is decoded |
| several frames | the first one is taken; counted in `noted` |
| grey among coloured ones | its channel is repeated; counted in `noted` |
| all grey, for a teacher with three channels | refused |
| smaller than the images | enlarged; counted in `noted` |
| hidden, in `__MACOSX`, or without a picture's ending | not looked at |
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PurePath
from urllib.parse import urlsplit

from torch import Tensor

from advkd.files import object_info
from advkd.images.ahead import ahead
from advkd.images.archives import TarSource, ZipSource
from advkd.images.errors import ImageSetError
from advkd.images.image_set import ImageSet, tensor_set
from advkd.images.inspection import Inspection, inspected
from advkd.images.parquet import ParquetSource
from advkd.images.pictures import ENDINGS, MODES, RULE, BadPictureError, crop, picture_image
from advkd.images.sources import FolderSource, Source, is_hidden, is_picture
from advkd.images.stores import is_store, store_images
from storage.objects import ObjectInfo, join, list_objects

DIGITS = "digits"
REAL_DIGITS = "real digits"
Archives = Sequence[tuple[str, str, ObjectInfo]]
"""Prefix of the keys, URI and listed facts of each archive."""


ARCHIVES: dict[str, Callable[[Archives], Source]] = {".zip": ZipSource, ".tar": TarSource, ".parquet": ParquetSource}
"""What holds pictures, by its ending."""


def open_images(
    uri: str,
    shape: Sequence[int],
    *,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Returns the real images at a URI as images of a teacher's shape, by `advkd.images.RULE`.

    Every picture is looked at once, and again only if the set changed.

    Args:
        uri: "digits" (scikit-learn's); or a folder of pictures, a zip, a tar or a Parquet file of a hub data set, or a
            folder of such archives; or a trajectory store, of which the clean states are taken.
        shape: shape `[C, H, W]` of the teacher's images, C 1 or 3.
        skip_bad: leave out pictures that cannot be used, and count them in `ImageSet.skipped`.
        progress: `progress(done, total)` pictures, called only if they have to be looked at.

    Raises:
        ImageSetError: there are no pictures, or some that cannot be used, or all are grey and the teacher is not.
        StoreError: the set cannot be read.
    """
    channels, height, width = shape
    if uri == DIGITS:
        return _digits((channels, height, width))
    if is_store(uri):
        return store_images(uri, (channels, height, width))
    if channels not in MODES:
        raise ImageSetError(
            f"pictures have 1 or 3 channels, got a teacher with {channels}; evaluate without real images"
        )
    source = _source(uri)
    inspection = inspected(source, progress)
    _check(uri, source, inspection, channels, skip_bad)
    bad = {number for number, _ in inspection.bad}
    usable = [number for number in range(len(source.entries)) if number not in bad]
    noted = Counter({"animated": inspection.animated, "grey": inspection.grey if channels == 3 else 0})
    for across, down, count in inspection.sizes:
        left, top, right, bottom = crop(across, down, height, width)
        noted["cropped"] += count * ((right - left, bottom - top) != (across, down))
        noted["enlarged"] += count * (right - left < width or bottom - top < height)
    return ImageSet(
        name=f"real {PurePath(urlsplit(uri).path).name or uri}",
        sha256=inspection.sha256,
        count=len(usable),
        shape=(channels, height, width),
        rule=RULE,
        read=lambda numbers: _images(source, [usable[number] for number in numbers], (channels, height, width)),
        skipped=dict(inspection.reasons),
        noted={remark: count for remark, count in noted.items() if count},
    )


def _digits(shape: tuple[int, int, int]) -> ImageSet:
    from advkd.teachers.digits import SHAPE, digit_images

    if shape != SHAPE:
        raise ImageSetError(
            f"scikit-learn's digits have the shape {list(SHAPE)}, got a teacher of {list(shape)}; give other pictures"
        )
    images = digit_images().contiguous()
    sha256 = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    return tensor_set(REAL_DIGITS, images, sha256, "scikit-learn's digits, enlarged bicubically from 8x8")


def _source(uri: str) -> Source:
    info = object_info(uri)
    if info is not None:
        made = ARCHIVES.get(_ending(info.key))
        if made is None:
            raise ImageSetError(
                f"a set of real images is a folder, or a file that ends in {', '.join(ARCHIVES)}, got {uri}; "
                "give the folder that it is in, or unpack it"
            )
        source = made([("", uri, info)])
    else:
        source = _below(uri, [entry for entry in list_objects(uri) if not is_hidden(entry.key)])
    if not source.entries:
        raise ImageSetError(
            f"a set of real images holds pictures ({', '.join(ENDINGS)}), got none in {uri}; give another one"
        )
    return source


def _below(uri: str, listed: Sequence[ObjectInfo]) -> Source:
    pictures = [entry for entry in listed if is_picture(entry.key)]
    kinds = {ending: [entry for entry in listed if _ending(entry.key) == ending] for ending in ARCHIVES}
    there = {f"{len(entries)} {ending}": ending for ending, entries in kinds.items() if entries}
    if len(there) + bool(pictures) > 1:
        counts = [f"{len(pictures)} pictures"] * bool(pictures) + list(there)
        raise ImageSetError(
            f"a set of real images is of one kind, got {' and '.join(counts)} in {uri}; name the folder or the file "
            "that is meant"
        )
    for ending in there.values():
        return ARCHIVES[ending]([(f"{entry.key}/", join(uri, entry.key), entry) for entry in kinds[ending]])
    return FolderSource(uri, pictures)


def _ending(key: str) -> str:
    return PurePath(key).suffix.lower()


def _check(uri: str, source: Source, inspection: Inspection, channels: int, skip_bad: bool) -> None:
    total = len(source.entries)
    if inspection.bad and (not skip_bad or not inspection.usable):
        number, reason = inspection.bad[0]
        counts = ", ".join(f"{count} {why}" for why, count in sorted(inspection.reasons.items()))
        raise ImageSetError(
            f"a set of real images must hold pictures that can be read, got {len(inspection.bad)} of {total} that "
            f"cannot ({counts}) in {uri}, the first: {source.entries[number].key} ({reason}); remove them, or "
            "leave them out with --skip-bad (EvaluateSpec.skip_bad)"
        )
    if channels == 3 and inspection.grey == inspection.usable:
        raise ImageSetError(
            f"a teacher with three channels is compared with coloured pictures, got {total} that are all grey in "
            f"{uri}; give coloured ones"
        )


def _images(source: Source, numbers: Sequence[int], shape: tuple[int, int, int]) -> Iterator[Tensor]:
    if len(numbers) == 1:
        yield _image(source.entries[numbers[0]].key, partial(source.read, numbers[0]), shape)
        return
    yield from ahead(_calls(source, numbers, shape))


def _calls(source: Source, numbers: Sequence[int], shape: tuple[int, int, int]) -> Iterator[Callable[[], Tensor]]:
    for number in numbers:
        key = source.entries[number].key
        if source.parallel:
            yield partial(_image, key, partial(source.read, number), shape)
        else:
            data = source.read(number)
            yield partial(_image, key, partial(bytes, data), shape)


def _image(key: str, read: Callable[[], bytes], shape: tuple[int, int, int]) -> Tensor:
    try:
        return picture_image(read(), shape)
    except BadPictureError as error:
        raise ImageSetError(
            f"pictures must not change while they are used, but {key} did: {error.reason}; run again"
        ) from error
