"""Reading shards: fetch, check, decode through the layout, show only the samples that the manifest shows."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from storage.errors import GridMismatchError, ManifestError, ShardCorruptError, StoreNotFoundError
from storage.layouts import Checksums, Place, States, layout_of
from storage.objects import join, read_range
from storage.reading.open import noise_problem, open_manifest
from storage.reading.sources import DirectSource, ObjectSource
from storage.records import (
    ByteCache,
    Manifest,
    ObjectEntry,
    ObjectPart,
    ShardProblem,
    drawn_noise,
    forget_objects,
    hash_problem,
    missing_problem,
    read_commit,
    read_pieces,
    seeded_noise,
    size_problem,
)

# From this share of a shard's samples on, the whole shard is read; not where ranges are kept, which bounds memory.
_RANGED_SHARE = 0.25
_HELD_BYTES = 2**22
"""Of the checksums that a reader keeps for itself."""


class ShardReader:
    """The `Reader` of one sealed store.

    An object is compared with its sha256 when it is first read whole, and with the crc32c that it had then whenever it
    is read again. A ranged read is compared with a crc32c out of a checked record, so it gives the right bytes or none,
    but says nothing of the rest of its object.
    """

    def __init__(
        self,
        uri: str,
        manifest: Manifest,
        source: ObjectSource | None = None,
        kept: ByteCache | None = None,
    ) -> None:
        self.uri = uri
        self.manifest = manifest
        self._source = DirectSource(uri) if source is None else source
        self._pieces = kept
        self._kept = kept or ByteCache(_HELD_BYTES)
        self._layout = layout_of(manifest.spec)
        objects = (manifest.num_shards, len(manifest.shards.templates))
        self._known = np.zeros(objects, dtype=bool)
        self._checksums_seen = np.zeros(objects, dtype=np.uint32)
        self._noise_checked = False

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process opens the store for itself and trusts nothing that this one has checked.
        return type(self), (self.uri, self.manifest, self._source)

    def read_shard(self, index: int, timesteps: Sequence[int] | None = None) -> States:
        """See `base.Reader.read_shard`."""
        spec, shown = self.manifest.spec, len(self.manifest.shard_range(index))
        return {t: spec.encoding(t).decode(stored[:shown]) for t, stored in self.read_stored(index, timesteps).items()}

    def read_stored(self, index: int, timesteps: Sequence[int] | None = None, place: Place | None = None) -> States:
        """See `base.Reader.read_stored`."""
        spec = self.manifest.spec
        self._require_shard(index)
        wanted = captured_timesteps(self.manifest, timesteps)
        stored: States = {}

        def keep(timestep: int) -> npt.NDArray[Any]:
            stored[timestep] = _empty(spec.encoding(timestep), spec.shard_samples) if place is None else place(timestep)
            return stored[timestep]

        objects = [t for t in wanted if t in spec.stored_timesteps]
        self._checked(index, lambda: self._layout.read(spec, index, objects, self._fetch(index), keep))
        for t in set(wanted) - set(objects):
            self._require_noise(index, sized=bool(objects))
            keep(t)[:] = seeded_noise(spec, index)
        return {t: stored[t] for t in wanted}

    def read_samples(self, indices: Sequence[int], timesteps: Sequence[int] | None = None) -> States:
        """See `base.Reader.read_samples`."""
        manifest, spec = self.manifest, self.manifest.spec
        samples = np.asarray(indices, dtype=np.int64)
        if samples.size and not 0 <= samples.min() <= samples.max() < manifest.num_samples:
            raise IndexError(
                f"{self.uri} shows samples 0 to {manifest.num_samples - 1}, got {samples.min()} to {samples.max()}; "
                "ask for fewer or extend the store"
            )
        wanted = captured_timesteps(manifest, timesteps)
        stored: States = {}
        shards, rows = np.divmod(samples, spec.shard_samples)
        for shard in np.unique(shards):
            here = shards == shard
            for t, values in self._read_rows(int(shard), rows[here], wanted).items():
                # Room for all is made when the first shard has shown that its states are of this size.
                if t not in stored:
                    stored[t] = np.empty((len(samples), *values.shape[1:]), dtype=values.dtype)
                stored[t][here] = values
        empty = {t: _empty(spec.encoding(t), 0) for t in wanted} if not samples.size else {}
        return {t: spec.encoding(t).decode((stored or empty)[t]) for t in wanted}

    def _read_rows(self, shard: int, rows: npt.NDArray[np.int64], timesteps: Sequence[int]) -> States:
        spec = self.manifest.spec
        if self._pieces is None and len(rows) >= _RANGED_SHARE * spec.shard_samples:
            return {t: values[rows] for t, values in self.read_stored(shard, timesteps).items()}
        stored: States = {}
        objects = [t for t in timesteps if t in spec.stored_timesteps]
        if objects:
            wanted = rows.tolist()
            self._checked(
                shard,
                lambda: stored.update(
                    self._layout.read_rows(
                        spec,
                        shard,
                        wanted,
                        objects,
                        self._fetch_pieces(shard),
                        self._checksums(shard),
                    )
                ),
            )
        elif self._pieces is not None and not self._noise_checked:
            # One sample that is stored shows how large a state is, as a whole shard would.
            self._read_rows(shard, rows[:1], spec.stored_timesteps[:1])
        for t in set(timesteps) - set(objects):
            self._require_noise(shard, sized=bool(objects) or self._pieces is not None)
            stored[t] = np.concatenate(
                [drawn_noise(spec, shard * spec.shard_samples + row, 1) for row in rows.tolist()]
            )
        return stored

    def _fetch(self, shard: int) -> Callable[[int, int, Callable[[], Sequence[memoryview]]], None]:
        """The `base.Fetch` of a shard."""
        entries = self.manifest.shards.entries(shard)

        def fetch(position: int, size: int, parts: Callable[[], Sequence[memoryview]]) -> None:
            entry, laid = entries[position], list[memoryview]()
            if entry.size != size:
                raise ValueError(f"the manifest lists {entry.size} bytes for {entry.key}, the spec demands {size}")

            def allocate() -> Sequence[memoryview]:
                laid[:] = parts()
                return laid

            try:
                found = self._source.read_into(entry, allocate)
            except StoreNotFoundError as error:
                raise ShardCorruptError(missing_problem(self.uri, shard, entry).message) from error
            problem = size_problem(self.uri, shard, entry, found) or self._content_problem(shard, position, entry, laid)
            if problem is not None:
                raise ShardCorruptError(problem.message)

        return fetch

    def _content_problem(
        self, shard: int, position: int, entry: ObjectEntry, parts: Sequence[memoryview]
    ) -> ShardProblem | None:
        """sha256 at first, and then the crc32c of the bytes that had it, which is ten times as fast."""
        checksum = 0
        for part in parts:
            checksum = crc32c(part, checksum)
        if self._known[shard, position] and self._checksums_seen[shard, position] == checksum:
            return None
        problem = hash_problem(self.uri, shard, entry, parts)
        if problem is None:
            self._checksums_seen[shard, position], self._known[shard, position] = checksum, True
        return problem

    def _fetch_pieces(self, shard: int) -> Callable[[int, int, Collection[int]], dict[int, bytes]]:
        """The `base.FetchPieces` of a shard."""
        entries = self.manifest.shards.entries(shard)

        def fetch_pieces(position: int, size: int, numbers: Collection[int]) -> dict[int, bytes]:
            entry = entries[position]
            address = join(self.uri, entry.key)

            def fetch(start: int, stop: int) -> bytes:
                if stop > entry.size:
                    raise ValueError(f"the manifest lists {entry.size} bytes for {entry.key}, the spec demands more")
                try:
                    data = read_range(address, start, stop)
                except StoreNotFoundError as error:
                    raise ShardCorruptError(missing_problem(self.uri, shard, entry).message) from error
                if len(data) != stop - start:
                    raise ValueError(
                        f"{entry.key} must hold bytes {start} to {stop - 1}, and ends at {start + len(data)}"
                    )
                return data

            return read_pieces(ObjectPart(address, entry.sha256), size, numbers, fetch, self._pieces)

        return fetch_pieces

    def _checksums(self, shard: int) -> Checksums:
        """The `base.Checksums` of a shard; those of the shards looked at last are kept."""
        entry = self.manifest.shards.entries(shard)[0]
        key = ObjectPart(join(self.uri, entry.key), entry.sha256)
        held: Checksums | None = self._kept.get(key)
        if held is not None:
            return held
        found = self._layout.checksums(
            self.manifest.spec, shard, self._fetch(shard), lambda: [one.crc32c for one in self._recorded(shard)]
        )
        # As arrays, which take a quarter of the memory of numbers.
        arrays = [np.array(one, dtype=np.int64) for one in found]
        self._kept.put(key, arrays, sum(array.nbytes for array in arrays))
        return arrays

    def _recorded(self, shard: int) -> tuple[ObjectEntry, ...]:
        """The objects of a shard with their checksums, out of its record, which must be the manifest's."""
        try:
            record = read_commit(self.uri, shard)
        except (ManifestError, StoreNotFoundError) as error:
            raise ValueError(f"the commit record with its checksums cannot be used: {error}") from error
        if record.objects != self.manifest.shards.entries(shard):
            raise ValueError("the commit record with its checksums is not the one that was sealed")
        return record.objects

    def _checked(self, shard: int, read: Callable[[], None]) -> None:
        """Whatever a layout finds wrong with an object is a corrupt shard."""
        try:
            read()
        except (ValueError, RecursionError) as error:
            spec, entries = self.manifest.spec, self.manifest.shards.entries(shard)
            key = entries[0].key
            forget_objects(self._kept, {join(self.uri, entry.key) for entry in entries})
            problem = ShardProblem(
                uri=self.uri, shard=shard, key=key, expected=f"a {spec.layout} shard of its spec", found=str(error)
            )
            raise ShardCorruptError(problem.message) from error

    def _require_shard(self, index: int) -> None:
        if not 0 <= index < self.manifest.num_shards:
            raise IndexError(
                f"{self.uri} has shards 0 to {self.manifest.num_shards - 1}, got {index}; ask for one of them"
            )

    def _require_noise(self, shard: int, *, sized: bool) -> None:
        """The generator draws one shard's noise to the same bits, so it does all others'."""
        if self._noise_checked:
            return
        if not sized:
            # No memory is taken on the manifest's word: a state that is stored shows that shards are of their size.
            self.read_stored(shard, self.manifest.spec.stored_timesteps[:1])
        problem = noise_problem(self.uri, self.manifest, shard)
        if problem is not None:
            raise ShardCorruptError(problem.message)
        self._noise_checked = True


def open_store(uri: str, source: ObjectSource | None = None, kept: ByteCache | None = None) -> ShardReader:
    """A reader of the sealed store at a URI.

    Args:
        uri: The store.
        source: Where whole objects come from, None: from the store itself.
        kept: Keeps what ranged reads gave, the checksums that they are compared with, and the pages of the index,
            beside whatever else the process keeps there. With it, samples are read in ranges only.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: It is still growing.
        ManifestError: Its manifest is foreign, newer, damaged or inconsistent.
    """
    manifest = open_manifest(uri)
    if kept is not None:
        manifest = replace(manifest, shards=replace(manifest.shards, kept=kept))
    return ShardReader(uri, manifest, source, kept)


def captured_timesteps(manifest: Manifest, timesteps: Sequence[int] | None) -> tuple[int, ...]:
    """The timesteps asked for, all if None; `GridMismatchError` unless every one was captured (law 6)."""
    if timesteps is None:
        return manifest.spec.timesteps
    wanted = tuple(int(t) for t in timesteps)
    if not wanted or not set(wanted) <= set(manifest.spec.timesteps):
        raise GridMismatchError(
            f"a trainer's time grid must be a subset of the store's, got {wanted} for a store that captured "
            f"{manifest.spec.timesteps}; choose among these, or precompute a store with the grid you need"
        )
    return wanted


def _empty(encoding: Any, count: int) -> npt.NDArray[Any]:
    return np.empty((count, *encoding.shape), dtype=encoding.stored_dtype)
