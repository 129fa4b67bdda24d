"""Repairs damaged records, index pages and metadata of a store from those that are intact."""

import hashlib
from collections.abc import Collection, Iterable, Iterator

from storage.errors import ManifestError, StoreNotFoundError
from storage.layouts import layout_of
from storage.objects import join, read_bytes, write_bytes
from storage.records import (
    CommitRecord,
    Manifest,
    ObjectEntry,
    copy_key,
    manifest_uri,
    read_commit,
    run_facts_apart,
    write_commit,
)
from storage.writing import reseal


def read_good_commit(uri: str, shard: int) -> CommitRecord | None:
    """Reads the record of a shard; returns None if it is missing or damaged."""
    try:
        return read_commit(uri, shard)
    except (ManifestError, StoreNotFoundError):
        return None


def keep_commit(uri: str, before: CommitRecord | None, after: CommitRecord) -> None:
    """Restores the record of a shard that was written again, if only the run's facts differ: author, code, times."""
    if before is not None and run_facts_apart(before, after):
        write_commit(uri, before)


def mend(uri: str, manifest: Manifest, keys: Collection[str], recomputed: Iterable[int]) -> Manifest:
    """Writes a store's damaged index pages, metadata and copy of the manifest again, with the same bytes.

    Args:
        uri: URI of the store; all of its commit records are intact.
        manifest: manifest of the store.
        keys: keys of the damaged objects that belong to no shard.
        recomputed: shards that were written again. If their objects differ from those that the manifest lists, because
            another machine computed them, index and manifest are replaced.

    Returns:
        The manifest after the repair.
    """
    spec = manifest.spec
    pages = [number for number, page in enumerate(manifest.shards.pages) if page.key in keys]
    same = all(manifest.shards.mend_page(number, _rows(uri, manifest, number)) for number in pages)
    same = same and all(_as_listed(uri, manifest, shard) for shard in recomputed)
    if not same or not _mend_metadata(uri, manifest, keys):
        return reseal(uri, spec, manifest.num_samples)
    if copy_key(manifest.num_samples) in keys:
        write_bytes(join(uri, copy_key(manifest.num_samples)), read_bytes(manifest_uri(uri)))
    return manifest


def _mend_metadata(uri: str, manifest: Manifest, keys: Collection[str]) -> bool:
    """Writes damaged metadata again; returns False if the bytes differ, as with another release of Zarr."""
    sealed = {entry.key: entry.sha256 for entry in manifest.metadata if entry.key in keys}
    if not sealed:
        return True
    made = layout_of(manifest.spec).metadata(manifest.spec, manifest.num_samples)
    for key in sealed.keys() & made.keys():
        write_bytes(join(uri, key), made[key])
    return all(key in made and hashlib.sha256(made[key]).hexdigest() == sha256 for key, sha256 in sealed.items())


def _rows(uri: str, manifest: Manifest, page: int) -> Iterator[tuple[tuple[ObjectEntry, ...], str | None]]:
    first = page * manifest.shards.page_shards
    for shard in range(first, min(first + manifest.shards.page_shards, manifest.num_shards)):
        record = read_commit(uri, shard)
        yield record.objects, record.noise_sha256


def _as_listed(uri: str, manifest: Manifest, shard: int) -> bool:
    record = read_commit(uri, shard)
    listed = (manifest.shards.entries(shard), manifest.shards.noise_sha256(shard))
    return (record.objects, record.noise_sha256) == listed
