"""Ranged reads of single samples: only the pieces of objects that hold them, each compared with its crc32.

The crc32 come out of the shard's commit record, which is checked itself and must be the one that was sealed. So a
ranged read gives the right bytes or an error, and says nothing of the rest of an object. A checksum within the data
would not do: it goes along when objects are swapped.
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
"""Of the checksums that are kept where no cache is given."""


class RangedReads:
    """Of one store. Thread-safe.

    Args:
        uri: The store.
        manifest: Its manifest.
        kept: Keeps pieces, and the checksums that they are compared with; None: a few checksums alone are kept.
    """

    def __init__(self, uri: str, manifest: Manifest, kept: ByteCache | None) -> None:
        self._uri, self._manifest = uri, manifest
        self._pieces, self._kept = kept, kept or ByteCache(_HELD_BYTES)

    def read(self, shard: int, rows: Sequence[int], timesteps: Sequence[int]) -> States:
        """Stored arrays `[len(rows), C, H_k, W_k]` of some rows of a shard.

        Raises:
            ValueError: The record or a piece is not what was committed.
            ShardCorruptError: An object is missing.
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
        """Drop all that is kept of a shard's objects: some of it is wrong."""
        forget_objects(self._kept, {join(self._uri, entry.key) for entry in self._manifest.shards.entries(shard)})

    def _checked(
        self, shard: int, entry: ObjectEntry, checksums: npt.NDArray[np.int64], numbers: Collection[int]
    ) -> dict[int, bytes | memoryview]:
        """Pieces of an object by number; the record shows that there are as many as its size says."""
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
        """The crc32 of the pieces of each object; those of the shards looked at last are kept."""
        entry = self._manifest.shards.entries(shard)[0]
        key = ObjectPart(join(self._uri, entry.key), entry.sha256)
        held: list[npt.NDArray[np.int64]] | None = self._kept.get(key)
        if held is not None:
            return held
        # As arrays, which take a quarter of the memory of numbers.
        arrays = [np.array(recorded.crc32, dtype=np.int64) for recorded in self._recorded(shard)]
        self._kept.put(key, arrays, sum(array.nbytes for array in arrays))
        return arrays

    def _recorded(self, shard: int) -> tuple[ObjectEntry, ...]:
        """The objects of a shard with their checksums, out of its record, which must be the manifest's."""
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
    """An object of a shard; `ValueError` unless it is listed with the size that the spec demands."""
    entry, size = (
        manifest.shards.entries(shard)[position],
        layout_of(manifest.spec).object_bytes(manifest.spec)[position],
    )
    if entry.size != size:
        raise ValueError(f"the manifest lists {entry.size} bytes for {entry.key}, the spec demands {size}")
    return entry


def _pieces(place: range) -> range:
    """Numbers of the pieces in which a range of an object lies."""
    return range(place.start // PIECE_BYTES, -(-place.stop // PIECE_BYTES))
