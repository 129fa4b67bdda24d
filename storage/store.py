"""The life of a store: open a writer, ask what is missing, seal, extend, list. Reading is in `reading.py`."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from storage.base import Writer
from storage.commits import CommitRecord, committed_shards, read_commit
from storage.errors import ManifestError, StoreError, StoreIncompleteError, StoreNotFoundError
from storage.identity import read_identity, require_same_spec
from storage.layouts import layout_of
from storage.manifest import Manifest, ShardTable, read_manifest, write_manifest
from storage.objects import join, list_folders, write_bytes
from storage.records import ObjectEntry, pooled, utc_now, writer_version
from storage.spec import TrajectorySpec, digest, store_uri
from storage.writing import ShardWriter

_COMMIT_READERS = 8
_LISTED_SHARDS = 20


def open_writer(root: str, spec: TrajectorySpec) -> Writer:
    """A writer of the store of a spec below a root; `SpecMismatchError` if another spec's store lies there."""
    _sealed_manifest(store_uri(root, spec), spec)
    return ShardWriter(root, spec)


def missing_shards(root: str, spec: TrajectorySpec, num_samples: int) -> list[int]:
    """Numbers of the shards that are yet to be computed before `num_samples` samples can be sealed."""
    uri = store_uri(root, spec)
    wanted = spec.num_shards(num_samples)
    committed = committed_shards(uri)
    _sealed_manifest(uri, spec)
    return [shard for shard in range(wanted) if shard not in committed]


def is_sealed(root: str, spec: TrajectorySpec, num_samples: int) -> bool:
    """Whether the store of a spec is sealed with at least `num_samples` samples."""
    spec.num_shards(num_samples)
    manifest = _sealed_manifest(store_uri(root, spec), spec)
    return manifest is not None and manifest.num_samples >= num_samples


def seal(root: str, spec: TrajectorySpec, num_samples: int) -> Manifest:
    """Write the manifest from the commit records; a store never shrinks, a sealed one is left as it is.

    Raises:
        StoreIncompleteError: Shards are missing; the message lists them.
        ManifestError: A commit record is damaged or belongs to another spec.
    """
    uri = store_uri(root, spec)
    missing = missing_shards(root, spec, num_samples)
    existing = _sealed_manifest(uri, spec)
    target = max(num_samples, existing.num_samples if existing else 0)
    if missing:
        listed = ", ".join(map(str, missing[:_LISTED_SHARDS])) + (", ..." if len(missing) > _LISTED_SHARDS else "")
        raise StoreIncompleteError(
            f"a store is sealed when all of its shards are committed, but {len(missing)} of "
            f"{spec.num_shards(num_samples)} are missing in {uri}: {listed}; "
            "run precompute with the same settings again"
        )
    manifest = _assemble(uri, spec, target, existing)
    if existing is not None and _same(existing, manifest):
        return existing
    for key, data in layout_of(spec).metadata(spec, target).items():
        write_bytes(join(uri, key), data)
    write_manifest(uri, manifest)
    return manifest


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """One line of `advkd cache ls`."""

    uri: str
    state: str
    """"sealed", "growing" or "unreadable"."""
    spec: TrajectorySpec | None
    """None if unreadable."""
    num_samples: int
    """Samples that readers see; of a growing store, samples committed so far."""
    num_shards: int
    total_bytes: int | None
    """Bytes of the data objects, None unless sealed."""
    problem: str | None = None
    """Why it is unreadable."""


def list_stores(root: str) -> list[StoreSummary]:
    """Every store below a root, `<root>/<teacher>/<digest>`, sealed or growing."""
    uris = [join(root, teacher, name) for teacher in list_folders(root) for name in list_folders(join(root, teacher))]
    return [summary for uri in uris if (summary := summarize(uri)) is not None]


def summarize(uri: str) -> StoreSummary | None:
    """What `list_stores` says about one store, None if none was begun there."""
    try:
        return _summary_of_sealed(uri, read_manifest(uri))
    except StoreNotFoundError:
        pass
    except ManifestError as error:
        return _summary_of_unreadable(uri, error)
    try:
        return _summary_of_growing(uri, read_identity(uri))
    except StoreNotFoundError:
        return None
    except ManifestError as error:
        return _summary_of_unreadable(uri, error)


def _summary_of_sealed(uri: str, manifest: Manifest) -> StoreSummary:
    return StoreSummary(
        uri=uri,
        state="sealed",
        spec=manifest.spec,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        total_bytes=manifest.total_bytes,
    )


def _summary_of_growing(uri: str, spec: TrajectorySpec) -> StoreSummary:
    shards = len(committed_shards(uri))
    return StoreSummary(
        uri=uri,
        state="growing",
        spec=spec,
        num_samples=shards * spec.shard_samples,
        num_shards=shards,
        total_bytes=None,
    )


def _summary_of_unreadable(uri: str, error: StoreError) -> StoreSummary:
    return StoreSummary(
        uri=uri, state="unreadable", spec=None, num_samples=0, num_shards=0, total_bytes=None, problem=str(error)
    )


def _sealed_manifest(uri: str, spec: TrajectorySpec) -> Manifest | None:
    """The manifest of the store of a spec, None while it is not sealed; `SpecMismatchError` for another spec's."""
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


def _assemble(uri: str, spec: TrajectorySpec, num_samples: int, existing: Manifest | None) -> Manifest:
    shards = range(spec.num_shards(num_samples))
    with ThreadPoolExecutor(_COMMIT_READERS) as pool:
        records = list(pool.map(partial(read_commit, uri), shards))
    templates = layout_of(spec).templates(spec)
    for record in records:
        _require_own(uri, spec, record, templates)
    metadata = layout_of(spec).metadata(spec, num_samples)
    now = utc_now()
    return Manifest(
        spec=spec,
        digest=digest(spec),
        num_samples=num_samples,
        shards=ShardTable.from_entries(templates, [record.objects for record in records]),
        metadata=tuple(
            ObjectEntry(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for key, data in metadata.items()
        ),
        statistics={t: pooled(record.statistics[t] for record in records) for t in spec.timesteps},
        elapsed_seconds=sum(record.elapsed_seconds or 0.0 for record in records),
        writer=writer_version(),
        created=existing.created if existing else now,
        sealed=now,
    )


def _require_own(uri: str, spec: TrajectorySpec, record: CommitRecord, templates: Sequence[str]) -> None:
    keys = tuple(template.format(shard=record.shard) for template in templates)
    if (
        record.digest != digest(spec)
        or tuple(entry.key for entry in record.objects) != keys
        or set(record.statistics) != set(spec.timesteps)
    ):
        raise ManifestError(
            f"commit record {record.shard} of {uri} must be that of spec {digest(spec)[:16]}, got {record.digest[:16]} "
            f"with {len(record.objects)} objects; delete it and run precompute again"
        )


def _same(one: Manifest, other: Manifest) -> bool:
    return (
        one.num_samples == other.num_samples
        and one.metadata == other.metadata
        and one.shards.to_json() == other.shards.to_json()
    )
