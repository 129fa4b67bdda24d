"""Verifies a store: compares every object with the size and hash in its commit record (law 5)."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from storage.care.shard_contents import content_fault
from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import join, read_into
from storage.reading import noise_problem, open_manifest
from storage.records import (
    IDENTITY,
    MANIFEST,
    CommitRecord,
    Manifest,
    ObjectEntry,
    ShardProblem,
    copy_key,
    digest,
    hash_problem,
    missing_problem,
    newest_copy,
    read_commit,
    read_copy,
    read_identity,
    same_store,
    size_problem,
)

_THREADS = 4
_SHARDS_AT_ONCE = 64


def verify(uri: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None) -> list[ShardProblem]:
    """Reads every object of a sealed store and compares it with the manifest; returns the problems.

    Also encodes the states in the objects again and compares the result with the objects, which detects forged records.
    If the manifest is damaged, this is the only problem in the list, because all other checks need the manifest.

    Args:
        uri: URI of the store.
        progress: called with the number of shards done and their total.

    Raises:
        StoreNotFoundError: there is no store.
        StoreIncompleteError: the store is still growing.
    """
    uri = os.fspath(uri)
    try:
        manifest = open_manifest(uri)
    except ManifestError as error:
        return [ShardProblem(uri=uri, shard=None, key=MANIFEST, expected="what was sealed", found=str(error))]
    problems = [*_record_problems(uri, manifest), *_page_problems(uri, manifest)]
    problems += [problem for entry in manifest.metadata if (problem := _object_problem(uri, None, entry, bytearray()))]
    damaged_pages = {problem.key for problem in problems}
    total = manifest.num_shards
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, total, _SHARDS_AT_ONCE):
            shards = range(first, min(total, first + _SHARDS_AT_ONCE))
            checked = pool.map(partial(_listed_problems, uri, manifest, damaged_pages), shards)
            for shard, of_shard in zip(shards, checked, strict=True):
                problems += of_shard
                if progress is not None:
                    progress(shard + 1, total)
    return problems


def _record_problems(uri: str, manifest: Manifest) -> Iterator[ShardProblem]:
    """Yields problems of the store's identity and of the manifest's copies."""
    try:
        same = digest(read_identity(uri)) == manifest.digest
        actual = "another spec"
    except (ManifestError, StoreNotFoundError) as error:
        same, actual = False, str(error)
    if not same:
        yield ShardProblem(uri=uri, shard=None, key=IDENTITY, expected="the manifest's spec", found=actual)
    try:
        copy = read_copy(uri, manifest.num_samples)
        same = same_store(copy, manifest)
        actual = "another manifest"
    except (ManifestError, StoreNotFoundError) as error:
        same, actual = False, str(error)
    if not same:
        key = copy_key(manifest.num_samples)
        yield ShardProblem(uri=uri, shard=None, key=key, expected="a copy of the manifest", found=actual)
    newest = newest_copy(uri)
    if newest is not None and newest > manifest.num_samples:
        # Sealing was killed before its last write, or an old manifest was put back.
        expected, actual = f"the seal of {newest} samples, as its copy", f"that of {manifest.num_samples}"
        yield ShardProblem(uri=uri, shard=None, key=MANIFEST, expected=expected, found=actual)


def _page_problems(uri: str, manifest: Manifest) -> Iterator[ShardProblem]:
    for number, entry in enumerate(manifest.shards.pages):
        try:
            manifest.shards.page(number)
        except ManifestError as error:
            yield ShardProblem(uri=uri, shard=None, key=entry.key, expected="what was sealed", found=str(error))


def _listed_problems(uri: str, manifest: Manifest, damaged_pages: set[str], shard: int) -> list[ShardProblem]:
    index = manifest.shards
    listed = None if index.pages[shard // index.page_shards].key in damaged_pages else index.entries(shard)
    return shard_problems(uri, manifest, shard, listed)


def shard_problems(
    uri: str, manifest: Manifest, shard: int, listed: Sequence[ObjectEntry] | None
) -> list[ShardProblem]:
    """Verifies one shard as `verify` does.

    Args:
        uri: URI of the store.
        manifest: manifest of a sealed store, or the provisional one that `open_growing` makes for a growing store.
        shard: number of the shard.
        listed: the shard's objects in the manifest; None if its index page is damaged, which leaves the commit record.
    """
    problems: list[ShardProblem] = []
    record, reason = _own_record(uri, manifest, shard, listed)
    if record is None:
        key, expected = f"commits/{shard:06d}.json", "the commit record of what the manifest lists"
        problems.append(ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found=reason))
    objects = _ShardObjects(uri, shard, record.objects if record else listed or ())
    if record is not None and (fault := content_fault(manifest.spec, shard, record.objects, objects.read)):
        key, expected = record.objects[fault.position].key, f"a {manifest.spec.layout} shard of its spec"
        problems.append(ShardProblem(uri=uri, shard=shard, key=key, expected=expected, found=fault.reason))
    problems += objects.problems()
    # Checked last: if the objects have their sizes, the noise is small enough to be drawn.
    if listed is not None and not problems and (noise := noise_problem(uri, manifest, shard)):
        problems.append(noise)
    return problems


def _own_record(
    uri: str, manifest: Manifest, shard: int, listed: Sequence[ObjectEntry] | None
) -> tuple[CommitRecord | None, str]:
    """Returns the commit record of a shard if it agrees with the manifest, else None and what was found instead."""
    try:
        record = read_commit(uri, shard)
    except StoreNotFoundError:
        return None, "nothing"
    except ManifestError:
        return None, "a damaged record"
    spec, index = manifest.spec, manifest.shards
    first = shard * spec.shard_samples
    own = (
        record.digest == manifest.digest
        and (record.start, record.stop) == (first, first + spec.shard_samples)
        and tuple(entry.key for entry in record.objects) == index.keys(shard)
        and set(record.statistics) == set(spec.timesteps)
        and (record.noise_sha256 is not None) == index.seeded_noise
        and (listed is None or (record.objects, record.noise_sha256) == (listed, index.noise_sha256(shard)))
    )
    return (record, "") if own else (None, "another record")


class _ShardObjects:
    """The objects of a shard that is verified; reads and compares each object once."""

    def __init__(self, uri: str, shard: int, entries: Sequence[ObjectEntry]) -> None:
        self._uri, self._shard, self._entries = uri, shard, entries
        self._found: dict[int, ShardProblem | None] = {}

    def read(self, position: int) -> bytearray | None:
        """Returns the bytes of an object, None if they are not those of its record."""
        data = bytearray()
        self._found[position] = _object_problem(self._uri, self._shard, self._entries[position], data)
        return data if self._found[position] is None else None

    def problems(self) -> list[ShardProblem]:
        """Returns the problems of all objects, and reads those that were not read yet."""
        for position in range(len(self._entries)):
            if position not in self._found:
                self.read(position)
        return [problem for _, problem in sorted(self._found.items()) if problem is not None]


def _object_problem(uri: str, shard: int | None, entry: ObjectEntry, data: bytearray) -> ShardProblem | None:
    """Reads an object of the right size into `data` and returns its problem, None if there is none."""

    def allocate() -> list[memoryview]:
        data.extend(bytes(entry.size))
        return [memoryview(data)]

    try:
        size = read_into(join(uri, entry.key), entry.size, allocate)
    except StoreNotFoundError:
        return missing_problem(uri, shard, entry)
    except (PermissionError, ConnectionError):
        raise
    except StoreError as error:
        # A bad disk does not prevent checks of the other objects.
        return ShardProblem(uri=uri, shard=shard, key=entry.key, expected=f"{entry.size} bytes", found=str(error))
    return size_problem(uri, shard, entry, size) or hash_problem(uri, shard, entry, [data])
