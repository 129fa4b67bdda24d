"""Opens writers, lists missing shards, seals stores, and extends them. `storage.reading` reads them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.layouts import Writer, layout_of
from storage.objects import join, write_bytes
from storage.records import (
    CommitRecord,
    Manifest,
    ObjectEntry,
    StateStatistics,
    TrajectorySpec,
    author,
    code_revision,
    committed_shards,
    digest,
    pooled,
    read_commit,
    read_identity,
    read_manifest,
    require_same_spec,
    store_uri,
    utc_now,
    write_index,
    write_manifest,
    writer_version,
)
from storage.writing.writer import ShardWriter

_COMMIT_READERS = 8
_RECORDS_AT_ONCE = 512
_LISTED_SHARDS = 20


def open_writer(root: str, spec: TrajectorySpec) -> Writer:
    """Opens a writer of a spec's store below a root; raises `SpecMismatchError` if another spec's store lies there."""
    _sealed_manifest(store_uri(root, spec), spec)
    return ShardWriter(root, spec)


def missing_shards(root: str, spec: TrajectorySpec, num_samples: int) -> list[int]:
    """Returns the numbers of the shards that must be computed before `num_samples` samples can be sealed.

    If the store is sealed, lists only the commit records after its last shard.
    """
    uri = store_uri(root, spec)
    return _missing(uri, spec, num_samples, _sealed_manifest(uri, spec))


def is_sealed(root: str, spec: TrajectorySpec, num_samples: int) -> bool:
    """Returns whether the store of a spec is sealed with at least `num_samples` samples."""
    spec.num_shards(num_samples)
    manifest = _sealed_manifest(store_uri(root, spec), spec)
    return manifest is not None and manifest.num_samples >= num_samples


@dataclass(frozen=True)
class Sealing:
    """Result of `seal_once`."""

    manifest: Manifest
    new: bool
    """Whether this call wrote the manifest; False if the store was sealed already."""


def seal(root: str, spec: TrajectorySpec, num_samples: int) -> Manifest:
    """Seals a store as `seal_once` does, and returns the manifest."""
    return seal_once(root, spec, num_samples).manifest


def seal_once(root: str, spec: TrajectorySpec, num_samples: int) -> Sealing:
    """Writes the manifest from the commit records, unless the store is sealed with as many samples already.

    To extend a store, reads only the records of the new shards, and replaces only the last page of the index. A store
    never shrinks.

    Raises:
        StoreIncompleteError: shards are missing; the message lists them.
        ManifestError: a commit record is damaged or belongs to another spec.
    """
    uri = store_uri(root, spec)
    existing = _sealed_manifest(uri, spec)
    if existing is not None and existing.num_samples >= num_samples:
        return Sealing(existing, new=False)
    missing = _missing(uri, spec, num_samples, existing)
    if missing:
        listed = ", ".join(map(str, missing[:_LISTED_SHARDS])) + (", ..." if len(missing) > _LISTED_SHARDS else "")
        raise StoreIncompleteError(
            f"a store is sealed when all of its shards are committed, but {len(missing)} of "
            f"{spec.num_shards(num_samples)} are missing in {uri}: {listed}; "
            "run precompute with the same settings again"
        )
    return Sealing(_publish(uri, spec, num_samples, existing), new=True)


def reseal(uri: str, spec: TrajectorySpec, num_samples: int) -> Manifest:
    """Writes metadata, index and manifest from all commit records, and replaces existing ones; for repairs."""
    return _publish(uri, spec, num_samples, None)


def _missing(uri: str, spec: TrajectorySpec, num_samples: int, sealed: Manifest | None) -> list[int]:
    first, wanted = (sealed.num_shards if sealed else 0), spec.num_shards(num_samples)
    if wanted <= first:
        return []
    committed = committed_shards(uri, after=first - 1)
    return [shard for shard in range(first, wanted) if shard not in committed]


def _sealed_manifest(uri: str, spec: TrajectorySpec) -> Manifest | None:
    """Returns the manifest of a spec's store, None if it is not sealed; raises `SpecMismatchError` if specs differ."""
    try:
        manifest = read_manifest(uri)
    except StoreNotFoundError:
        try:
            require_same_spec(uri, read_identity(uri), spec)
        except StoreNotFoundError:
            return None
        return None
    require_same_spec(uri, manifest.spec, spec)
    return manifest


def _publish(uri: str, spec: TrajectorySpec, num_samples: int, existing: Manifest | None) -> Manifest:
    """Writes metadata and index of all shards, then the manifest; reads only the shards that `existing` lacks."""
    metadata = layout_of(spec).metadata(spec, num_samples)
    for key, data in metadata.items():
        write_bytes(join(uri, key), data)
    tally = _RecordTally(spec, existing)
    first = existing.num_shards if existing else 0
    records = _records(uri, spec, range(first, spec.num_shards(num_samples)))
    index = write_index(
        uri,
        layout_of(spec).templates(spec),
        ((record.objects, record.noise_sha256) for record in tally.counted(records)),
        existing.shards if existing else None,
    )
    now = utc_now()
    manifest = Manifest(
        spec=spec,
        digest=digest(spec),
        num_samples=num_samples,
        shards=index,
        metadata=tuple(
            ObjectEntry(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for key, data in metadata.items()
        ),
        statistics={t: pooled(parts) for t, parts in tally.statistics.items()},
        elapsed_seconds=tally.elapsed_seconds,
        writer=writer_version(),
        revisions=tuple(sorted({*tally.revisions, code_revision()})),
        author=author(),
        created=existing.created if existing else now,
        sealed=now,
    )
    write_manifest(uri, manifest)
    return manifest


class _RecordTally:
    """Sums over the commit records, for the manifest."""

    def __init__(self, spec: TrajectorySpec, existing: Manifest | None) -> None:
        self.statistics: dict[int, list[tuple[int, StateStatistics]]] = {t: [] for t in spec.timesteps}
        self.elapsed_seconds = existing.elapsed_seconds if existing else 0.0
        self.revisions = set(existing.revisions) if existing else set[str]()
        if existing is not None:
            for t, statistics in existing.statistics.items():
                self.statistics[t].append((existing.num_shards, statistics))

    def counted(self, records: Iterable[CommitRecord]) -> Iterator[CommitRecord]:
        """Yields the same records and counts them; pools their statistics regularly, so memory stays constant."""
        for record in records:
            self.elapsed_seconds += record.elapsed_seconds or 0.0
            self.revisions.add(record.revision)
            for t, parts in self.statistics.items():
                parts.append((1, record.statistics[t]))
                if len(parts) >= _RECORDS_AT_ONCE:
                    parts[:] = [(sum(shards for shards, _ in parts), pooled(parts))]
            yield record


def _records(uri: str, spec: TrajectorySpec, shards: range) -> Iterator[CommitRecord]:
    """Yields the commit records of some shards in order; several threads read them."""
    templates, identity = layout_of(spec).templates(spec), digest(spec)
    with ThreadPoolExecutor(_COMMIT_READERS) as pool:
        for first in range(0, len(shards), _RECORDS_AT_ONCE):
            for record in pool.map(partial(read_commit, uri), shards[first : first + _RECORDS_AT_ONCE]):
                _require_own(uri, spec, identity, record, templates)
                yield record


def _require_own(uri: str, spec: TrajectorySpec, identity: str, record: CommitRecord, templates: Sequence[str]) -> None:
    keys = tuple(template.format(shard=record.shard) for template in templates)
    if (
        record.digest != identity
        or tuple(entry.key for entry in record.objects) != keys
        or set(record.statistics) != set(spec.timesteps)
        or (record.noise_sha256 is None) != (spec.noise == "stored")
    ):
        raise ManifestError(
            f"commit record {record.shard} of {uri} must be that of spec {identity[:16]}, got {record.digest[:16]} "
            f"with {len(record.objects)} objects; delete it and run precompute again"
        )
