"""Sizes and hashes of all objects of all shards, in pages of 4096 shards that are read when they are needed.

A store of a million shards opens as fast as one of ten, because the manifest lists only the pages, with a hash of 32
bytes each. A page is a plain `.npy` file with records `(bytes, sha256)` of shape `[shards, objects]`. Its name holds
its hash, so it is never overwritten, and readers that opened the store before it grew can go on.
"""

import hashlib
import io
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import join, read_into, write_bytes
from storage.records.byte_cache import ByteCache
from storage.records.fields import ObjectEntry, downwards, list_of, require_keys, whole_number
from storage.records.ranges import ObjectPart

PAGE_SHARDS = 4096
_HELD_BYTES = 2**26
"""Bytes of the pages that an index keeps in its own cache."""
_ROW = np.dtype([("bytes", "<i8"), ("sha256", "u1", (32,))])
_REMEDY = "run `advkd cache repair` on it"
# No other field is formatted: {shard:999999999} would allocate memory, {shard.x} would read attributes.
_FIELD = re.compile(r"\{shard(:06d)?\}")


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The objects of all shards of one store. Thread-safe."""

    uri: str
    """URI of the store."""
    templates: tuple[str, ...]
    """Keys of the objects of one shard, with `{shard}` for its number."""
    seeded_noise: bool
    """Whether each shard has one more hash: that of its noise, which is not stored."""
    count: int
    """Number of shards."""
    total_bytes: int
    """Bytes of all data objects."""
    pages: tuple[ObjectEntry, ...]
    page_shards: int = PAGE_SHARDS
    """Shards of one page; the last page may have fewer."""
    kept: ByteCache = field(default_factory=lambda: ByteCache(_HELD_BYTES), repr=False)
    """Cache of the pages that were used last."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return self.count

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.uri, self.templates, self.seeded_noise, self.count, self.total_bytes, self.pages)
        return type(self), (*arguments, self.page_shards)

    def keys(self, shard: int) -> tuple[str, ...]:
        """Returns the keys of the objects of one shard."""
        return tuple(template.format(shard=shard) for template in self.templates)

    def entries(self, shard: int) -> tuple[ObjectEntry, ...]:
        """Returns the objects of one shard; raises `ManifestError` if their page is missing or damaged."""
        row = self._row(shard)
        return tuple(
            ObjectEntry(key=key, size=int(size), sha256=sha256.tobytes().hex())
            for key, size, sha256 in zip(self.keys(shard), row["bytes"], row["sha256"], strict=False)
        )

    def noise_sha256(self, shard: int) -> str | None:
        """Returns the sha256 of a shard's noise if it is not stored, else None."""
        return self._row(shard)["sha256"][-1].tobytes().hex() if self.seeded_noise else None

    def page(self, number: int) -> npt.NDArray[Any]:
        """Returns a checked page, records `[shards, objects]`; raises `ManifestError` if it is missing or damaged."""
        entry = self.pages[number]
        key = ObjectPart(join(self.uri, entry.key), entry.sha256)
        with self._lock:
            rows: npt.NDArray[Any] | None = self.kept.get(key)
            if rows is None:
                rows = self._read(number)
                self.kept.put(key, rows, rows.nbytes)
            return rows

    def mend_page(self, number: int, rows: Iterable[tuple[Sequence[ObjectEntry], str | None]]) -> bool:
        """Writes a page again from its shards' objects; writes nothing and returns False if its bytes would differ."""
        data = _page_data(np.stack([_as_row(*row) for row in rows]))
        entry = self.pages[number]
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            return False
        write_bytes(join(self.uri, entry.key), data)
        return True

    def to_json(self) -> dict[str, Any]:
        """Returns the entry of the manifest, as plain JSON."""
        return {
            "count": self.count,
            "bytes": self.total_bytes,
            "objects": list(self.templates),
            "seeded_noise": self.seeded_noise,
            "page_shards": self.page_shards,
            "pages": [page.to_json() for page in self.pages],
        }

    @classmethod
    def from_json(cls, uri: str, data: Mapping[str, Any]) -> "ShardIndex":
        """Inverts `to_json`; refuses pages of impossible sizes before they are read."""
        require_keys("the shard index", data, ("count", "bytes", "objects", "seeded_noise", "page_shards", "pages"))
        if not isinstance(data["seeded_noise"], bool):
            raise ManifestError(
                f"seeded_noise must be true or false, got {data['seeded_noise']!r}; the manifest is damaged: {_REMEDY}"
            )
        index = cls(
            uri=uri,
            templates=tuple(_checked_template(template) for template in list_of("objects", data["objects"])),
            seeded_noise=data["seeded_noise"],
            count=whole_number("count", data["count"]),
            total_bytes=whole_number("bytes", data["bytes"]),
            pages=tuple(ObjectEntry.from_json(page) for page in list_of("pages", data["pages"])),
            page_shards=whole_number("page_shards", data["page_shards"]),
        )
        index._check()
        return index

    def _check(self) -> None:
        fits = 0 < self.page_shards <= PAGE_SHARDS
        if not fits or len(self.pages) != -(-self.count // self.page_shards):
            raise ManifestError(
                f"an index of {self.count} shards must have one page per {self.page_shards}, got {len(self.pages)} "
                f"pages; the manifest is damaged: {_REMEDY}"
            )
        for number, page in enumerate(self.pages):
            expected = _page_bytes(self._page_rows(number), self._columns)
            if page.size != expected or page.key != _page_key(number, page.sha256):
                raise ManifestError(
                    f"page {number} of the shard index must be {expected} bytes in {_page_key(number, page.sha256)}, "
                    f"got {page.size} bytes in {page.key}; the manifest is damaged: {_REMEDY}"
                )

    def _row(self, shard: int) -> Any:
        if not 0 <= shard < self.count:
            raise IndexError(f"{self.uri} has shards 0 to {self.count - 1}, got {shard}; ask for one of them")
        return self.page(shard // self.page_shards)[shard % self.page_shards]

    @property
    def _columns(self) -> int:
        return len(self.templates) + self.seeded_noise

    def _page_rows(self, number: int) -> int:
        return min(self.page_shards, self.count - number * self.page_shards)

    def _read(self, number: int) -> npt.NDArray[Any]:
        entry = self.pages[number]
        address, data = join(self.uri, entry.key), bytearray()

        def allocate() -> list[memoryview]:
            data.extend(bytes(entry.size))
            return [memoryview(data)]

        try:
            size = read_into(address, entry.size, allocate)
        except StoreNotFoundError as error:
            raise ManifestError(
                f"every page of a store's shard index must be there, but {address} is missing; {_REMEDY}"
            ) from error
        except (PermissionError, ConnectionError):
            raise
        except StoreError as error:
            raise ManifestError(f"a page of a store's shard index must be readable, but {error}; {_REMEDY}") from error
        header = _page_header(self._page_rows(number), self._columns)
        good = size == entry.size and hashlib.sha256(data).hexdigest() == entry.sha256 and data.startswith(header)
        if not good:
            raise ManifestError(f"a page of a store's shard index must be what was sealed, {address} is not; {_REMEDY}")
        rows = np.frombuffer(data, dtype=_ROW, offset=len(header))
        return rows.reshape(self._page_rows(number), self._columns)


def write_index(
    uri: str,
    templates: tuple[str, ...],
    rows: Iterable[tuple[Sequence[ObjectEntry], str | None]],
    before: ShardIndex | None = None,
    *,
    page_shards: int = PAGE_SHARDS,
) -> ShardIndex:
    """Writes the pages of an index, and returns the index.

    Args:
        uri: URI of the store.
        templates: keys of the objects of one shard.
        rows: objects and hash of the noise (None: the noise is stored) of each shard, in order: all shards, or those
            after `before`; consumed page by page.
        before: index of a store that grows; its full pages are kept.
        page_shards: shards of one page; a store that grows keeps its own number.
    """
    pages: list[ObjectEntry] = []
    count = total = 0
    page_shards = before.page_shards if before is not None else page_shards
    waiting: Iterator[Any] = iter(())
    if before is not None:
        kept = before.count // page_shards
        pages, count, total = list(before.pages[:kept]), kept * page_shards, before.total_bytes
        if before.count % page_shards:
            waiting = iter(before.page(kept))
            total -= int(before.page(kept)["bytes"].sum())
    seeded = before is not None and before.seeded_noise
    records = _chained(waiting, rows)
    while chunk := list(islice(records, page_shards)):
        page = np.stack([row if isinstance(row, np.ndarray) else _as_row(*row) for row in chunk])
        seeded = page.shape[1] > len(templates)
        count, total = count + len(page), total + int(page["bytes"].sum())
        pages.append(_write_page(uri, len(pages), page))
    return ShardIndex(uri, templates, seeded, count, total, tuple(pages), page_shards)


def _chained(first: Iterator[Any], second: Iterable[Any]) -> Iterator[Any]:
    yield from first
    yield from second


def _as_row(entries: Sequence[ObjectEntry], noise: str | None) -> npt.NDArray[Any]:
    columns = [(entry.size, entry.sha256) for entry in entries] + ([] if noise is None else [(0, noise)])
    return np.array([(size, np.frombuffer(bytes.fromhex(sha256), np.uint8)) for size, sha256 in columns], dtype=_ROW)


def _write_page(uri: str, number: int, rows: npt.NDArray[Any]) -> ObjectEntry:
    data = _page_data(rows)
    sha256 = hashlib.sha256(data).hexdigest()
    entry = ObjectEntry(key=_page_key(number, sha256), size=len(data), sha256=sha256)
    write_bytes(join(uri, entry.key), data)
    return entry


def _page_key(number: int, sha256: str) -> str:
    return f"index/{number:06d}-{sha256[:16]}.npy"


def _checked_template(template: object) -> str:
    """Returns the value if it is a key with the shard's number in it, else raises `ManifestError`."""
    if not isinstance(template, str) or len(_FIELD.findall(template)) != 1:
        raise ManifestError(
            f"a template of keys must be a text with one {{shard}} or {{shard:06d}}, got {template!r}; the manifest is "
            f"damaged: {_REMEDY}"
        )
    downwards(_FIELD.sub("0", template))
    return template


def _page_data(rows: npt.NDArray[Any]) -> bytes:
    return _page_header(*rows.shape) + rows.tobytes()


def _page_header(rows: int, columns: int) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {"descr": np.lib.format.dtype_to_descr(_ROW), "fortran_order": False, "shape": (rows, columns)},
    )
    return buffer.getvalue()


def _page_bytes(rows: int, columns: int) -> int:
    return len(_page_header(rows, columns)) + rows * columns * _ROW.itemsize
