"""Reads single samples: only the pieces of objects that hold them, each compared with its crc32.

The crc32 values come from the shard's commit record, which is checked and must be the one that was sealed. So a ranged
read returns the right bytes or raises an error; it does not check the rest of an object. A checksum within the data
would not be enough: if two objects are swapped, their checksums are swapped too.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from storage.errors import ManifestError, ShardCorruptError, StoreNotFoundError
from storage.layouts import States, layout_of
from storage.objects import join, read_range
from storage.records import (
    PIECE_BYTES,
    ByteCache,
    Manifest,
    ObjectEntry,
    ObjectPart,
    forget_objects,
    missing_problem,
    read_commit,
    read_pieces,
)

_HELD_BYTES = 2**22
"""Bound of the checksums that are kept if no cache is given, in bytes."""


class RangedReads:
    """Reads ranges of one store's objects. Thread-safe.

    Args:
        uri: URI of the store.
        manifest: manifest of the store.
        kept: cache for pieces and their checksums; None: only a few checksums are kept.
    """

    def __init__(self, uri: str, manifest: Manifest, kept: ByteCache | None) -> None:
        self._uri, self._manifest = uri, manifest
        self._pieces, self._kept = kept, kept or ByteCache(_HELD_BYTES)

    def read(self, shard: int, rows: Sequence[int], timesteps: Sequence[int]) -> States:
        """Returns the stored arrays `[len(rows), C, H_k, W_k]` of some rows of a shard.

        Raises:
            ValueError: the record or a piece is not what was committed.
            ShardCorruptError: an object is missing.
        """
        spec, layout = self._manifest.spec, layout_of(self._manifest.spec)
        positions = {extent.position for extent in layout.extents(spec, timesteps, range(1))}
        entries = {position: sized_entry(self._manifest, shard, position) for position in positions}
        checksums = self._checksums(shard)
        encodings, wanted = {t: spec.encoding(t) for t in timesteps}, sorted(set(rows))
        lying: dict[int, dict[tuple[int, int], range]] = {}
        for extent in layout.extents(spec, timesteps, range(wanted[0], wanted[-1] + 1)):
            size = encodings[extent.timestep].state_bytes
            for row in wanted[bisect_left(wanted, extent.rows.start) : bisect_left(wanted, extent.rows.stop)]:
                first = extent.start + (row - extent.rows.start) * extent.stride
                lying.setdefault(extent.position, {})[extent.timestep, row] = range(first, first + size)
        states: dict[tuple[int, int], npt.NDArray[Any]] = {}
        for position, places in lying.items():
            numbers = {number for place in places.values() for number in _pieces(place)}
            pieces = self._checked(shard, entries[position], checksums[position], numbers)
            for (t, row), place in places.items():
                data, offset = b"".join(pieces[number] for number in _pieces(place)), place.start % PIECE_BYTES
                values = np.frombuffer(data[offset : offset + len(place)], dtype=encodings[t].stored_dtype)
                states[t, row] = values.reshape(encodings[t].shape)
        return {t: np.stack([states[t, row] for row in rows]) for t in timesteps}

    def forget(self, shard: int) -> None:
        """Removes a shard's pieces and checksums from the cache, because some of them are wrong."""
        forget_objects(self._kept, {join(self._uri, entry.key) for entry in self._manifest.shards.entries(shard)})

    def _checked(
        self, shard: int, entry: ObjectEntry, checksums: npt.NDArray[np.int64], numbers: Collection[int]
    ) -> dict[int, bytes | memoryview]:
        """Returns pieces of an object by number, each compared with its crc32."""
        address = join(self._uri, entry.key)

        def fetch(start: int, stop: int) -> bytes:
            stop = min(stop, entry.size)
            try:
                data = read_range(address, start, stop)
            except StoreNotFoundError as error:
                raise ShardCorruptError(missing_problem(self._uri, shard, entry).message) from error
            if len(data) != stop - start:
                raise ValueError(f"{entry.key} must hold bytes {start} to {stop - 1}, and ends at {start + len(data)}")
            return data

        pieces = read_pieces(ObjectPart(address, entry.sha256), PIECE_BYTES, numbers, fetch, self._pieces)
        for number, data in pieces.items():
            if crc32(data) != checksums[number]:
                raise ValueError(f"piece {number} of {entry.key} must agree with its crc32 in the commit record")
        return pieces

    def _checksums(self, shard: int) -> list[npt.NDArray[np.int64]]:
        """Returns the crc32 of the pieces of each object; keeps those of recent shards."""
        entry = self._manifest.shards.entries(shard)[0]
        key = ObjectPart(join(self._uri, entry.key), entry.sha256)
        held: list[npt.NDArray[np.int64]] | None = self._kept.get(key)
        if held is not None:
            return held
        # Arrays take a quarter of the memory of Python integers.
        arrays = [np.array(recorded.crc32, dtype=np.int64) for recorded in self._recorded(shard)]
        self._kept.put(key, arrays, sum(array.nbytes for array in arrays))
        return arrays

    def _recorded(self, shard: int) -> tuple[ObjectEntry, ...]:
        """Returns a shard's objects with their checksums, from its commit record, if it agrees with the manifest."""
        try:
            record = read_commit(self._uri, shard)
        except (ManifestError, StoreNotFoundError) as error:
            raise ValueError(f"the commit record with its checksums cannot be used: {error}") from error
        if record.objects != self._manifest.shards.entries(shard):
            raise ValueError("the commit record with its checksums is not the one that was sealed")
        for entry in record.objects:
            if len(entry.crc32) != -(-entry.size // PIECE_BYTES):
                raise ValueError(
                    f"the commit record must hold the crc32 of every piece of {entry.key}, got {len(entry.crc32)}"
                )
        return record.objects


def sized_entry(manifest: Manifest, shard: int, position: int) -> ObjectEntry:
    """Returns the entry of a shard's object; raises `ValueError` unless its size is the one that the spec demands."""
    entry, size = (
        manifest.shards.entries(shard)[position],
        layout_of(manifest.spec).object_bytes(manifest.spec)[position],
    )
    if entry.size != size:
        raise ValueError(f"the manifest lists {entry.size} bytes for {entry.key}, the spec demands {size}")
    return entry


def _pieces(place: range) -> range:
    """Returns the numbers of the pieces in which a range of an object lies."""
    return range(place.start // PIECE_BYTES, -(-place.stop // PIECE_BYTES))
