"""Reads a growing store: the shards that are committed, and no others.

There is no manifest yet, so every shard is compared with its own commit record. Training needs a sealed store
(`open_store`); viewing and repairing do not.
"""

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.layouts import layout_of
from storage.reading.reader import ShardReader
from storage.reading.sources import ObjectSource
from storage.records import (
    ByteCache,
    CommitRecord,
    Manifest,
    ObjectEntry,
    ShardIndex,
    TrajectorySpec,
    committed_shards,
    digest,
    read_commit,
    read_identity,
    utc_now,
)

_HELD_RECORDS = 64
_UNKNOWN = ""


@dataclass(frozen=True, eq=False)
class CommittedShards(ShardIndex):
    """The objects of the committed shards, listed by their commit records."""

    spec: TrajectorySpec | None = None
    committed: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Numbers of the committed shards, ascending, int64: 8 bytes per shard."""
    _records: "LRUCache[int, CommitRecord]" = field(default_factory=lambda: LRUCache(_HELD_RECORDS), repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return committed_index, (self.uri, self.spec, self.committed)

    def entries(self, shard: int) -> tuple[ObjectEntry, ...]:
        """Returns the objects of one shard; raises `StoreIncompleteError` if it is not committed yet."""
        return self._record(shard).objects

    def noise_sha256(self, shard: int) -> str | None:
        """Returns the sha256 of a shard's noise if it is not stored, else None."""
        return self._record(shard).noise_sha256

    def _record(self, shard: int) -> CommitRecord:
        with self._lock:
            held: CommitRecord | None = self._records.get(shard)
        if held is None:
            held = self._read_record(shard)
            with self._lock:
                self._records[shard] = held
        return held

    def _read_record(self, shard: int) -> CommitRecord:
        position = int(np.searchsorted(self.committed, shard))
        if position == len(self.committed) or self.committed[position] != shard:
            raise StoreIncompleteError(
                f"a shard can be read once it is committed, but shard {shard} of {self.uri} is not yet; wait for "
                "precompute, or run it again with the same settings"
            )
        record = read_commit(self.uri, shard)
        if self.spec is None or record.digest != digest(self.spec):
            raise ManifestError(
                f"commit record {shard} of {self.uri} must be that of its spec, got {record.digest[:16]}; delete it "
                "and run precompute again"
            )
        keys = tuple(entry.key for entry in record.objects)
        if keys != self.keys(shard):
            raise ManifestError(
                f"commit record {shard} of {self.uri} must list the objects of its layout, got {keys}; delete it and "
                "run precompute again"
            )
        return record


def committed_index(uri: str, spec: TrajectorySpec, committed: npt.NDArray[np.int64]) -> CommittedShards:
    """Returns the index of a growing store with these committed shards."""
    layout = layout_of(spec)
    return CommittedShards(
        uri=uri,
        templates=layout.templates(spec),
        seeded_noise=spec.noise == "seeded",
        count=int(committed[-1]) + 1 if len(committed) else 0,
        total_bytes=len(committed) * sum(layout.object_bytes(spec)),
        pages=(),
        spec=spec,
        committed=committed,
    )


def open_growing(
    uri: str | os.PathLike[str], source: ObjectSource | None = None, kept: ByteCache | None = None
) -> ShardReader:
    """Opens a reader of the shards that are committed at this moment, whether the store is sealed or not.

    Its manifest is provisional: `num_samples` counts up to the last committed shard, including missing shards before
    it, and there are no statistics. Reading a sample of a missing shard raises `StoreIncompleteError`.

    Raises:
        StoreNotFoundError: there is no store.
        ManifestError: `spec.json` is foreign, newer or damaged.
    """
    uri = os.fspath(uri)
    try:
        spec = read_identity(uri)
    except StoreNotFoundError as error:
        raise StoreNotFoundError(
            f"a store is a folder with a spec.json, but there is none at {uri}; check the URI, or compute the store "
            "with `advkd precompute`"
        ) from error
    numbers = committed_shards(uri)
    committed = np.fromiter(numbers, dtype=np.int64, count=len(numbers))
    committed.sort()
    index, now = committed_index(uri, spec, committed), utc_now()
    manifest = Manifest(
        spec=spec,
        digest=digest(spec),
        num_samples=index.count * spec.shard_samples,
        shards=index,
        metadata=(),
        statistics={},
        elapsed_seconds=0.0,
        writer=_UNKNOWN,
        revisions=(),
        author=_UNKNOWN,
        created=now,
        sealed=now,
    )
    return ShardReader(uri, manifest, source, kept)
