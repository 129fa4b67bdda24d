"""Nothing is read on trust (law 5): every object is compared with the size and hash that its commit recorded."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from storage.commits import read_commit
from storage.errors import ManifestError, StoreIncompleteError, StoreNotFoundError
from storage.identity import IDENTITY, read_identity
from storage.manifest import MANIFEST, Manifest, copy_key, manifest_uri, read_copy, read_manifest
from storage.objects import join, list_prefix, read_bytes
from storage.records import ObjectEntry
from storage.seeded_noise import NOISE, noise_sha256, seeded_noise
from storage.spec import digest

_THREADS = 4
_SHARDS_AT_ONCE = 64


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
        remedy = (
            "use the release of numpy that wrote it, or compute a store with its noise stored"
            if self.key == NOISE
            else f"run `advkd cache repair {self.uri}` to recompute it"
        )
        return (
            f"every object of a store must be what was committed, but in {whose} of {self.uri} {self.key} is not: "
            f"expected {self.expected}, found {self.found}; {remedy}"
        )


def missing_problem(uri: str, shard: int | None, entry: ObjectEntry) -> ShardProblem:
    """An object is not there."""
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found="nothing")


def size_problem(uri: str, shard: int | None, entry: ObjectEntry, size: int) -> ShardProblem | None:
    """What is wrong with an object of so many bytes, or None."""
    if size == entry.size:
        return None
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found=f"{size} bytes")


def hash_problem(
    uri: str, shard: int | None, entry: ObjectEntry, parts: Iterable[bytes | memoryview]
) -> ShardProblem | None:
    """What is wrong with the content of an object, given in order and in any number of parts, or None."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    if found.hexdigest() == entry.sha256:
        return None
    expected, got = f"sha256 {entry.sha256}", f"sha256 {found.hexdigest()}"
    return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=expected, found=got)


def open_manifest(uri: str) -> Manifest:
    """The manifest of a sealed store.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: There is one without a manifest: it is still growing.
        ManifestError: Its manifest is foreign, newer, damaged or inconsistent.
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

    A damaged manifest is the only problem that is named, as it is what all others are measured by.

    Args:
        uri: The store.
        progress: Called with shards done and shards in all.

    Raises:
        StoreNotFoundError: There is no store.
        StoreIncompleteError: It is still growing.
    """
    try:
        manifest = open_manifest(uri)
    except ManifestError as error:
        return [ShardProblem(uri=uri, shard=None, key=MANIFEST, expected="what was sealed", found=str(error))]
    problems = [*_record_problems(uri, manifest), *_page_problems(uri, manifest)]
    problems += [found for entry in manifest.metadata if (found := _object_problem(uri, None, entry))]
    damaged_pages = {problem.key for problem in problems}
    total = manifest.num_shards
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, total, _SHARDS_AT_ONCE):
            shards = range(first, min(total, first + _SHARDS_AT_ONCE))
            checked = pool.map(partial(_shard_problems, uri, manifest, damaged_pages), shards)
            for shard, of_shard in zip(shards, checked, strict=True):
                problems += of_shard
                if progress is not None:
                    progress(shard + 1, total)
    return problems


def _record_problems(uri: str, manifest: Manifest) -> Iterator[ShardProblem]:
    """Of the records beside the manifest: the store's identity, and the manifest's copy."""
    try:
        same = digest(read_identity(uri)) == manifest.digest
        found = "another spec"
    except (ManifestError, StoreNotFoundError) as error:
        same, found = False, str(error)
    if not same:
        yield ShardProblem(uri=uri, shard=None, key=IDENTITY, expected="the manifest's spec", found=found)
    try:
        copy = read_copy(uri, manifest.num_samples)
        same = copy.digest == manifest.digest and copy.shards.to_json() == manifest.shards.to_json()
        found = "another manifest"
    except (ManifestError, StoreNotFoundError) as error:
        same, found = False, str(error)
    if not same:
        key = copy_key(manifest.num_samples)
        yield ShardProblem(uri=uri, shard=None, key=key, expected="a copy of the manifest", found=found)


def _page_problems(uri: str, manifest: Manifest) -> Iterator[ShardProblem]:
    for number, entry in enumerate(manifest.shards.pages):
        try:
            manifest.shards.page(number)
        except ManifestError as error:
            yield ShardProblem(uri=uri, shard=None, key=entry.key, expected="what was sealed", found=str(error))


def _shard_problems(uri: str, manifest: Manifest, damaged_pages: set[str], shard: int) -> list[ShardProblem]:
    index = manifest.shards
    listed = None if index.pages[shard // index.page_shards].key in damaged_pages else index.entries(shard)
    key, found = f"commits/{shard:06d}.json", "another record"
    try:
        record = read_commit(uri, shard)
        objects = record.objects
        same = record.digest == manifest.digest and listed in (None, objects)
    except (ManifestError, StoreNotFoundError) as error:
        same, objects = False, ()
        found = "nothing" if isinstance(error, StoreNotFoundError) else "a damaged record"
    expected = "the commit record of what the manifest lists"
    problems = [] if same else [ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found=found)]
    problems += [problem for entry in listed or objects if (problem := _object_problem(uri, shard, entry))]
    if listed is not None and (noise := noise_problem(uri, manifest, shard)):
        problems.append(noise)
    return problems


def noise_problem(uri: str, manifest: Manifest, shard: int) -> ShardProblem | None:
    """Whether noise that is not stored is drawn again to the values that it had, as far as a shard can tell."""
    expected = manifest.shards.noise_sha256(shard)
    if expected is None or (found := noise_sha256(seeded_noise(manifest.spec, shard))) == expected:
        return None
    return ShardProblem(uri=uri, shard=shard, key=NOISE, expected=f"sha256 {expected}", found=f"sha256 {found}")


def _object_problem(uri: str, shard: int | None, entry: ObjectEntry) -> ShardProblem | None:
    try:
        data = read_bytes(join(uri, entry.key))
    except StoreNotFoundError:
        return missing_problem(uri, shard, entry)
    return size_problem(uri, shard, entry, len(data)) or hash_problem(uri, shard, entry, [data])
