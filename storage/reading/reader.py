"""Reads shards: fetches, checks and decodes them, and returns only the samples that the manifest counts.

The layout tells where states lie in the objects; all input and all checks are here.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import GridMismatchError, ShardCorruptError, StoreNotFoundError
from storage.layouts import Place, States, layout_of
from storage.reading.landing import Landing
from storage.reading.open import noise_problem, open_manifest
from storage.reading.ranged import RangedReads, sized_entry
from storage.reading.sources import DirectSource, ObjectSource
from storage.records import (
    ByteCache,
    Manifest,
    ObjectEntry,
    ShardProblem,
    drawn_noise,
    hash_problem,
    missing_problem,
    seeded_noise,
    size_problem,
)

# From this share of a shard's samples on, the whole shard is read, unless ranges are kept, where memory is bounded.
_RANGED_SHARE = 0.25


class ShardReader:
    """The `Reader` of one store.

    An object that is read whole is compared with its sha256 the first time, and with the crc32c that it had then at
    every later read. A ranged read is compared with crc32 values from a checked record (`ranged.py`).
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
        self._ranges = RangedReads(uri, manifest, kept)
        self._bounded = kept is not None
        self._layout = layout_of(manifest.spec)
        objects = (manifest.num_shards, len(manifest.shards.templates))
        self._known = np.zeros(objects, dtype=bool)
        self._checksums_seen = np.zeros(objects, dtype=np.uint64)
        self._noise_checked = False

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process opens the store itself, and repeats all checks.
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

        objects = [t for t in dict.fromkeys(wanted) if t in spec.stored_timesteps]
        lying: dict[int, list[int]] = {}
        for extent in self._layout.extents(spec, objects, range(1)):
            lying.setdefault(extent.position, []).append(extent.timestep)
        with self._naming(index):
            for position, here in lying.items():
                self._read_object(index, position, here, keep)
        for t in set(wanted) - set(spec.stored_timesteps):
            self._require_noise(index, sized=bool(lying))
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
                # Memory for all is allocated after the first shard has shown that its states have this size.
                if t not in stored:
                    stored[t] = np.empty((len(samples), *values.shape[1:]), dtype=values.dtype)
                stored[t][here] = values
        empty = {t: _empty(spec.encoding(t), 0) for t in wanted} if not samples.size else {}
        return {t: spec.encoding(t).decode((stored or empty)[t]) for t in wanted}

    def _read_rows(self, shard: int, rows: npt.NDArray[np.int64], timesteps: Sequence[int]) -> States:
        spec = self.manifest.spec
        if not self._bounded and len(rows) >= _RANGED_SHARE * spec.shard_samples:
            return {t: values[rows] for t, values in self.read_stored(shard, timesteps).items()}
        stored: States = {}
        objects = [t for t in timesteps if t in spec.stored_timesteps]
        if objects:
            with self._naming(shard):
                stored = self._ranges.read(shard, rows.tolist(), objects)
        elif self._bounded and not self._noise_checked:
            # One stored sample proves the size of a state, as a whole shard would.
            self._read_rows(shard, rows[:1], spec.stored_timesteps[:1])
        for t in set(timesteps) - set(objects):
            self._require_noise(shard, sized=bool(objects) or self._bounded)
            stored[t] = np.concatenate(
                [drawn_noise(spec, shard * spec.shard_samples + row, 1) for row in rows.tolist()]
            )
        return stored

    def _read_object(self, shard: int, position: int, timesteps: Sequence[int], place: Place) -> None:
        """Reads the states of an object into the arrays of `place`, called once the object has the right size."""
        spec, entry, landings = self.manifest.spec, sized_entry(self.manifest, shard, position), list[Landing]()

        def allocate() -> Sequence[memoryview]:
            extents = self._layout.extents(spec, timesteps, range(spec.shard_samples))
            landings.append(Landing(entry.size, spec, extents, {t: place(t) for t in timesteps}))
            return landings[-1].parts

        try:
            size = self._source.read_into(entry, allocate)
        except StoreNotFoundError as error:
            raise ShardCorruptError(missing_problem(self.uri, shard, entry).message) from error
        problem = size_problem(self.uri, shard, entry, size)
        problem = problem or self._content_problem(shard, position, entry, landings[-1])
        if problem is not None:
            raise ShardCorruptError(problem.message)
        landings[-1].settle()

    def _content_problem(self, shard: int, position: int, entry: ObjectEntry, landing: Landing) -> ShardProblem | None:
        """Compares the sha256 at the first read, and later the crc32c that it had then, which is ten times as fast."""
        checksum = landing.checksum()
        if self._known[shard, position] and self._checksums_seen[shard, position] == checksum:
            return None
        problem = hash_problem(self.uri, shard, entry, landing.parts)
        if problem is None:
            self._checksums_seen[shard, position], self._known[shard, position] = checksum, True
        return problem

    @contextmanager
    def _naming(self, shard: int) -> Iterator[None]:
        """Turns errors about the structure of a shard into `ShardCorruptError`."""
        try:
            yield
        except ValueError as error:
            spec, entries = self.manifest.spec, self.manifest.shards.entries(shard)
            key = entries[0].key
            self._ranges.forget(shard)
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
        """Checks one shard's noise: a generator that draws it to the same bits does so for all shards."""
        if self._noise_checked:
            return
        if not sized:
            # A stored state proves the shard's size before memory is allocated; the manifest alone is not trusted.
            self.read_stored(shard, self.manifest.spec.stored_timesteps[:1])
        problem = noise_problem(self.uri, self.manifest, shard)
        if problem is not None:
            raise ShardCorruptError(problem.message)
        self._noise_checked = True


def open_store(
    uri: str | os.PathLike[str], source: ObjectSource | None = None, kept: ByteCache | None = None
) -> ShardReader:
    """Opens a reader of the sealed store at a URI.

    Args:
        uri: URI of the store.
        source: source of whole objects; None: the store itself.
        kept: cache for pieces from ranged reads, their checksums, and pages of the index; the process may keep other
            values in it too. With a cache, samples are read in ranges only.

    Raises:
        StoreNotFoundError: there is no store.
        StoreIncompleteError: the store is still growing.
        ManifestError: the manifest is foreign, newer, damaged or inconsistent.
    """
    uri = os.fspath(uri)
    manifest = open_manifest(uri)
    if kept is not None:
        manifest = replace(manifest, shards=replace(manifest.shards, kept=kept))
    return ShardReader(uri, manifest, source, kept)


def captured_timesteps(manifest: Manifest, timesteps: Sequence[int] | None) -> tuple[int, ...]:
    """Returns `timesteps`, all captured ones if None; raises `GridMismatchError` if one was not captured (law 6)."""
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
