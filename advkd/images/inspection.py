"""Looks at every picture of a source once, before anything is computed: its content's hash, and what is wrong.

What was found is kept in the machine's cache under the listing's facts (names, sizes, times), so that a set is looked
at again only if it changed. The cache may be deleted at any time.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from advkd.files import record_from_json
from advkd.images.ahead import ahead
from advkd.images.pictures import EMPTY, HUGE, MOST_BYTES, BadPictureError, PictureFacts, picture_facts
from advkd.images.sources import Source
from storage.errors import StoreError
from storage.objects import join, read_bytes, write_json
from storage.reading import default_cache_folder

logger = logging.getLogger(__name__)

LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is known of a source's pictures."""

    sha256: str
    """Of the sorted keys, each with the sha256 of its bytes; pictures that cannot be used count too."""
    bad: tuple[tuple[int, str], ...]
    """Number and reason of the pictures that cannot be used."""
    animated: int
    grey: int
    sizes: tuple[tuple[int, int, int], ...]
    """Width, height, and how many usable pictures have them."""
    layout: int

    @property
    def usable(self) -> int:
        """Number of pictures that can be used."""
        return sum(count for _, _, count in self.sizes)

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many pictures cannot be used, by reason."""
        return Counter(reason for _, reason in self.bad)


def inspected(source: Source, progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Returns the inspection of a source, from the cache if the listing is the same.

    Args:
        source: the pictures.
        progress: `progress(done, total)` pictures, called only if they are looked at.

    Raises:
        StoreError: the pictures cannot be read.
    """
    kept = join(str(Path(default_cache_folder()).expanduser()), "images", f"{_stamp(source)}.json")
    try:
        if (known := record_from_json(Inspection, read_bytes(kept).decode())).layout == LAYOUT:
            return known
    except (StoreError, ValueError, TypeError, KeyError):
        pass
    inspection = _inspect(source, progress)
    try:
        write_json(kept, asdict(inspection), indent=None)
    except StoreError as error:
        logger.warning("pictures will be looked at again, because %s", error)
    return inspection


@dataclass(frozen=True, kw_only=True)
class _Looked:
    sha256: str
    facts: PictureFacts | None
    reason: str = ""


def _inspect(source: Source, progress: Callable[[int, int], None] | None) -> Inspection:
    total, content = len(source.entries), hashlib.sha256()
    bad: list[tuple[int, str]] = []
    sizes: Counter[tuple[int, int]] = Counter()
    animated = grey = 0
    for number, looked in enumerate(ahead(_calls(source))):
        content.update(f"{source.entries[number].key}\0{looked.sha256}\n".encode("utf-8", "surrogateescape"))
        if looked.facts is None:
            bad.append((number, looked.reason))
        else:
            sizes[looked.facts.width, looked.facts.height] += 1
            animated += looked.facts.animated
            grey += looked.facts.grey
        if progress is not None:
            progress(number + 1, total)
    return Inspection(
        sha256=content.hexdigest(),
        bad=tuple(bad),
        animated=animated,
        grey=grey,
        layout=LAYOUT,
        sizes=tuple((*size, count) for size, count in sorted(sizes.items())),
    )


def _calls(source: Source) -> Iterator[Callable[[], _Looked]]:
    for number, entry in enumerate(source.entries):
        # Known from the listing: not read at all.
        if entry.size is not None and (entry.size == 0 or entry.size > MOST_BYTES):
            reason = HUGE if entry.size else EMPTY
            content = f"{HUGE} {entry.size}" if entry.size else hashlib.sha256().hexdigest()
            yield partial(_Looked, sha256=content, facts=None, reason=reason)
        elif source.parallel:
            yield partial(_look, partial(source.read, number))
        else:
            yield partial(_look, partial(_given, *_attempt(source, number)))


def _attempt(source: Source, number: int) -> tuple[bytes, str]:
    try:
        return source.read(number), ""
    except BadPictureError as error:
        return b"", error.reason


def _given(data: bytes, reason: str) -> bytes:
    if reason:
        raise BadPictureError(reason)
    return data


def _look(read: Callable[[], bytes]) -> _Looked:
    try:
        data = read()
    except BadPictureError as error:
        return _Looked(sha256=error.reason, facts=None, reason=error.reason)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return _Looked(sha256=sha256, facts=picture_facts(data))
    except BadPictureError as error:
        return _Looked(sha256=sha256, facts=None, reason=error.reason)


def _stamp(source: Source) -> str:
    return hashlib.sha256(f"{LAYOUT} {source.stamp}".encode()).hexdigest()
