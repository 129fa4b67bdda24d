"""Checks of a sealed store before it is read: its manifest, and noise that is drawn again instead of stored."""

import hashlib
from shlex import quote

from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.layouts import layout_of
from storage.objects import list_prefix
from storage.records import NOISE, Manifest, ShardProblem, drawn_noise, manifest_uri, read_manifest


def open_manifest(uri: str) -> Manifest:
    """Reads the manifest of a sealed store.

    Raises:
        StoreNotFoundError: there is no store.
        StoreIncompleteError: the store has no manifest, so it is still growing.
        ManifestError: the manifest is foreign, newer, damaged or inconsistent.
    """
    try:
        manifest = read_manifest(uri)
    except StoreNotFoundError as error:
        if not list_prefix(uri):
            raise StoreNotFoundError(
                f"a store is a folder with a manifest.json, but there is nothing at {uri}; check the URI, or compute "
                "the store with `advkd precompute`"
            ) from error
        raise StoreIncompleteError(
            f"a store can be read once it is sealed, but {manifest_uri(uri)} is not written yet; run precompute with "
            "the same settings again, it computes the missing shards only"
        ) from error
    templates = layout_of(manifest.spec).templates(manifest.spec)
    if manifest.shards.templates != templates:
        raise ManifestError(
            f"a {manifest.spec.layout} store keeps its shards in {templates}, but {manifest_uri(uri)} lists "
            f"{manifest.shards.templates}; `advkd cache repair {quote(uri)}` restores it"
        )
    return manifest


def noise_problem(uri: str, manifest: Manifest, shard: int) -> ShardProblem | None:
    """Returns a problem if a shard's noise, which is not stored, is not drawn to the same values again; else None."""
    expected = manifest.shards.noise_sha256(shard)
    if expected is None:
        return None
    spec, drawn = manifest.spec, hashlib.sha256()
    for sample in range(shard * spec.shard_samples, (shard + 1) * spec.shard_samples):
        drawn.update(drawn_noise(spec, sample, 1).data)
    if drawn.hexdigest() == expected:
        return None
    got = f"sha256 {drawn.hexdigest()}"
    return ShardProblem(uri=uri, shard=shard, key=NOISE, expected=f"sha256 {expected}", found=got)
