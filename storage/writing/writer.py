"""Writes a whole shard: encodes it block by block, writes the data, and last the commit record (laws 2 and 3)."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.errors import NonFiniteError, ValueRangeError
from storage.layouts import States, layout_of
from storage.objects import join, write_bytes
from storage.records import (
    CommitRecord,
    ObjectEntry,
    StateStatistics,
    StateTally,
    TrajectorySpec,
    announce,
    author,
    code_revision,
    digest,
    drawn_noise,
    noise_sha256,
    piece_checksums,
    store_uri,
    utc_now,
    write_commit,
    writer_version,
)


class ShardWriter:
    """The `Writer` of one spec; publishes nothing before a shard is committed. Thread-safe."""

    def __init__(self, root: str, spec: TrajectorySpec) -> None:
        self.uri = store_uri(root, spec)
        self.spec = spec
        self._announced = False

    def begin(self, index: int) -> "ShardBuffer":
        """See `base.Writer.begin`."""
        if index < 0:
            raise ValueError(f"a shard's number must be 0 or more, got {index}; count shards from 0")
        return ShardBuffer(self, index)

    def write_shard(
        self, index: int, states: Mapping[int, npt.NDArray[Any]], *, elapsed_seconds: float | None = None
    ) -> CommitRecord:
        """See `base.Writer.write_shard`."""
        size = self.spec.shard_samples
        buffer = self.begin(index)
        buffer.check(states, size)
        for row in range(0, size, self.spec.block_samples):
            buffer.put(row, {t: values[row : row + self.spec.block_samples] for t, values in states.items()})
        return buffer.commit(elapsed_seconds=elapsed_seconds)

    def copy_shard(self, stored: States, record: CommitRecord) -> CommitRecord:
        """See `base.Writer.copy_shard`."""
        for t in self.spec.stored_timesteps:
            encoding = self.spec.encoding(t)
            given = (stored[t].dtype.name, stored[t].shape)
            if given != (encoding.stored_dtype, (self.spec.shard_samples, *encoding.shape)):
                raise ValueError(
                    f"a copied shard must hold the stored arrays, {encoding.stored_dtype} "
                    f"{[self.spec.shard_samples, *encoding.shape]} at timestep {t}, got {given}; use read_stored"
                )
        return self.publish(stored, replace(record, digest=digest(self.spec)))

    def publish(self, stored: States, record: CommitRecord) -> CommitRecord:
        """Writes a shard's objects, then its record, with the objects' sizes and hashes."""
        layout = layout_of(self.spec)
        started = time.monotonic()
        payloads = list(layout.encode(self.spec, record.shard, stored))
        entries = tuple(
            ObjectEntry(
                key=template.format(shard=record.shard),
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                crc32=piece_checksums(data),
            )
            for template, data in zip(layout.templates(self.spec), payloads, strict=True)
        )
        if not self._announced:
            announce(self.uri, self.spec)
            self._announced = True
        for entry, data in zip(entries, payloads, strict=True):
            write_bytes(join(self.uri, entry.key), data)
        elapsed = record.elapsed_seconds
        written = replace(
            record, objects=entries, elapsed_seconds=None if elapsed is None else elapsed + time.monotonic() - started
        )
        write_commit(self.uri, written)
        return written


class ShardBuffer:
    """A shard that is being filled; holds its states in their stored form only."""

    def __init__(self, writer: ShardWriter, index: int) -> None:
        self.index = index
        self._writer = writer
        self._spec = spec = writer.spec
        self._stored: States = {
            t: np.empty((spec.shard_samples, *spec.state_shape(t)), dtype=spec.encoding(t).stored_dtype)
            for t in spec.timesteps
        }
        self._tallies = {t: StateTally(spec.encoding(t)) for t in spec.timesteps}
        self._filled = np.zeros(spec.shard_samples, dtype=bool)

    def put(self, row: int, states: Mapping[int, npt.NDArray[Any]]) -> None:
        """See `base.Buffer.put`."""
        count = len(next(iter(states.values()), ()))
        self.check(states, count)
        rows = slice(row, row + count)
        if row < 0 or rows.stop > self._spec.shard_samples or self._filled[rows].any():
            raise ValueError(
                f"each row of a shard of {self._spec.shard_samples} must be put once, got rows {row} to "
                f"{rows.stop - 1}; put block after block"
            )
        for t in self._spec.timesteps:
            self._stored[t][rows] = self._encoded(t, row, states[t])
        self._require_drawn_noise(row, count)
        self._filled[rows] = True

    def commit(self, *, elapsed_seconds: float | None = None) -> CommitRecord:
        """See `base.Buffer.commit`."""
        if not self._filled.all():
            raise ValueError(
                f"a shard must be written whole, got {int(self._filled.sum())} of {self._spec.shard_samples} samples; "
                "compute them all, the store hides those beyond num_samples"
            )
        spec, first = self._spec, self.index * self._spec.shard_samples
        unstored = set(spec.timesteps) - set(spec.stored_timesteps)
        record = CommitRecord(
            digest=digest(spec),
            shard=self.index,
            start=first,
            stop=first + spec.shard_samples,
            objects=(),
            statistics={t: StateStatistics.of(tally) for t, tally in self._tallies.items()},
            noise_sha256=noise_sha256(self._stored[spec.timesteps[0]]) if unstored else None,
            writer=writer_version(),
            revision=code_revision(),
            author=author(),
            elapsed_seconds=elapsed_seconds,
            created=utc_now(),
        )
        return self._writer.publish({t: self._stored[t] for t in spec.stored_timesteps}, record)

    def check(self, states: Mapping[int, npt.NDArray[Any]], count: int) -> None:
        """Raises `ValueError` unless these are `count` floating states of every timestep in full resolution."""
        if set(states) != set(self._spec.timesteps):
            raise ValueError(
                f"a shard must hold exactly the timesteps {self._spec.timesteps}, got {tuple(states)}; "
                "capture the spec's grid"
            )
        shape = (count, *self._spec.sample_shape)
        for t, values in states.items():
            if values.shape != shape or not np.issubdtype(values.dtype, np.floating):
                raise ValueError(
                    f"a shard must be written whole, floating states of shape {list(shape)}, got {values.dtype} "
                    f"{list(values.shape)} at timestep {t}; compute all samples, the store hides those beyond "
                    "num_samples"
                )

    def _require_drawn_noise(self, row: int, count: int) -> None:
        """Checks noise that is not stored: the teacher must have started from the noise that readers will draw."""
        spec = self._spec
        if spec.noise == "stored":
            return
        first, noise = self.index * spec.shard_samples + row, spec.timesteps[0]
        if not np.array_equal(self._stored[noise][row : row + count], drawn_noise(spec, first, count)):
            raise ValueError(
                f"states at timestep {noise} of a store with seeded noise must be the noise that is drawn from seed "
                f"{spec.base_seed}, got others in samples {first} to {first + count - 1}; begin with "
                'storage.records.start_noise, or store the noise (noise="stored")'
            )

    def _encoded(self, timestep: int, row: int, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        encoding = self._spec.encoding(timestep)
        reduced = encoding.reduced(states)
        try:
            stored = encoding.encode(reduced)
        except (NonFiniteError, ValueRangeError) as error:
            first = self.index * self._spec.shard_samples + row
            raise type(error)(
                f"stored states must be finite and in range, but in shard {self.index} at timestep {timestep}, samples "
                f"{first} to {first + len(states) - 1}: {error}"
            ) from error
        self._tallies[timestep].add(states, reduced, stored)
        return stored
