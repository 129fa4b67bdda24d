"""Nothing is read on trust (law 5): every object is compared with the size and hash that its commit recorded."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storage.commits import read_commit
from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.manifest import Manifest, manifest_uri, read_manifest
from storage.objects import join, list_prefix, read_bytes
from storage.records import ObjectEntry


@dataclass(frozen=True, kw_only=True)
class ShardProblem:
    """One object that is not what was committed."""

    uri: str
    """The store."""
    shard: int | None
    """None for metadata of the whole store."""
    key: str
    """The object, relative to the store."""
    expected: str
    found: str

    @property
    def message(self) -> str:
        """Rule, fact, remedy."""
        whose = "the metadata" if self.shard is None else f"shard {self.shard}"
        return (
            f"every object of a store must be what was committed, but in {whose} of {self.uri} {self.key} is not: "
            f"expected {self.expected}, found {self.found}; run `advkd cache repair {self.uri}` to recompute it"
        )


def object_problem(
    uri: str, shard: int | None, entry: ObjectEntry, data: bytes | None, *, with_hash: bool = True
) -> ShardProblem | None:
    """What is wrong with the bytes of an object (None: missing), or None."""
    if data is None:
        found, expected = "nothing", f"{entry.size} bytes"
    elif len(data) != entry.size:
        found, expected = f"{len(data)} bytes", f"{entry.size} bytes"
    elif with_hash and (sha256 := hashlib.sha256(data).hexdigest()) != entry.sha256:
        found, expected = f"sha256 {sha256}", f"sha256 {entry.sha256}"
    else:
        return None
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=expected, found=found)


def read_if_there(uri: str, key: str) -> bytes | None:
    """The bytes of an object of a store, None if it is missing."""
    try:
        return read_bytes(join(uri, key))
    except StoreNotFoundError:
        return None


def open_manifest(uri: str) -> Manifest:
    """The manifest of a sealed store.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: There is one without a manifest: it is still growing.
    """
    try:
        return read_manifest(uri)
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


def verify(uri: str, *, progress: Callable[[int, int], None] | None = None) -> list[ShardProblem]:
    """Read every object of a sealed store and compare it with the manifest; an empty list means all is well.

    Args:
        uri: The store.
        progress: Called with shards done and shards in all.
    """
    manifest = open_manifest(uri)
    problems = [
        problem
        for entry in manifest.metadata
        if (problem := object_problem(uri, None, entry, read_if_there(uri, entry.key)))
    ]
    for shard in range(manifest.num_shards):
        problems += _shard_problems(uri, manifest, shard)
        if progress is not None:
            progress(shard + 1, manifest.num_shards)
    return problems


def _shard_problems(uri: str, manifest: Manifest, shard: int) -> Iterator[ShardProblem]:
    entries = manifest.shards.entries(shard)
    for entry in entries:
        problem = object_problem(uri, shard, entry, read_if_there(uri, entry.key))
        if problem is not None:
            yield problem
    key = f"commits/{shard:06d}.json"
    expected = "the commit record of what the manifest lists"
    try:
        agrees = read_commit(uri, shard).objects == entries
    except StoreNotFoundError:
        yield ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found="nothing")
    except ManifestError:
        yield ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found="a damaged record")
    else:
        if not agrees:
            yield ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found="another record")
