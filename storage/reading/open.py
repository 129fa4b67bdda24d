"""Opening what was sealed: the manifest, and noise that must be drawn again to the same values."""

import hashlib

from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.layouts import layout_of
from storage.objects import list_prefix
from storage.records import NOISE, Manifest, ShardProblem, drawn_noise, manifest_uri, read_manifest


def open_manifest(uri: str) -> Manifest:
    """The manifest of a sealed store.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: There is one without a manifest: it is still growing.
        ManifestError: Its manifest is foreign, newer, damaged or inconsistent.
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
            f"{manifest.shards.templates}; `advkd cache repair {uri}` restores it"
        )
    return manifest


def noise_problem(uri: str, manifest: Manifest, shard: int) -> ShardProblem | None:
    """Whether noise that is not stored is drawn again to the values that it had, as far as a shard can tell."""
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
