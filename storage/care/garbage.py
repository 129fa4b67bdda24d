"""Finds and removes what a store no longer needs, and touches nothing else.

A store does not need:

- unfinished writes: temporary files of killed local writes, and multipart uploads that were never completed;
- data objects of shards without a commit record: their worker was killed between data and record (law 3);
- claims of runs that were killed;
- index pages and copies of the manifest from before an extension of the store: the manifest now names others.

Age protects objects in use. A shard that is being uploaded looks like one whose worker was killed, and a reader that
opened the store before it grew still reads old pages. So objects younger than a given age are kept; choose an age that
no upload of a shard and no reader exceeds. The age of a shard is that of its youngest object; the age of an old page or
copy is that of the manifest that replaced it. Foreign objects and unreadable stores are reported and left alone.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from storage.care.keys import Role, StoreKeys
from storage.errors import ManifestError, StoreNotFoundError
from storage.objects import (
    Leftover,
    ObjectInfo,
    delete,
    exists,
    join,
    list_folders,
    list_leftovers,
    list_objects,
    remove_leftover,
)
from storage.records import (
    IDENTITY,
    MANIFEST,
    Manifest,
    TrajectorySpec,
    commit_uri,
    committed_shards,
    copy_key,
    digest,
    read_identity,
    read_manifest,
)

UNFINISHED, OLD_CLAIM, UNCOMMITTED, OLD_PAGE, OLD_COPY = (
    "unfinished write",
    "claim of a run that was killed",
    "data of a shard without a commit record",
    "index page from before an extension",
    "copy of a manifest from before an extension",
)

_DIGEST = re.compile(r"[0-9a-f]{16}")
_DELETIONS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """One object or unfinished write that the store does not need."""

    kind: str
    """`UNFINISHED`, `OLD_CLAIM`, `UNCOMMITTED`, `OLD_PAGE` or `OLD_COPY`."""
    key: str
    """Relative to the store."""
    size: int | None
    """Bytes; None for a multipart upload."""
    since: float
    """Since when it has been useless, as far as is known, in seconds since the epoch."""
    shard: int | None = None
    """The shard of `UNCOMMITTED` data."""
    leftover: Leftover | None = None
    """The write, if `UNFINISHED`."""


@dataclass(frozen=True, kw_only=True)
class StoreGarbage:
    """The garbage of one store."""

    uri: str
    old: tuple[Garbage, ...]
    """Old enough to be removed."""
    young: tuple[Garbage, ...]
    """Too young to be removed: it may be in use."""
    foreign: tuple[str, ...]
    """Keys that this package never writes; they are kept."""
    problem: str | None = None
    """Why only unfinished writes were searched for; None if everything was."""


def find_garbage(uri: str, older_than: float, *, now: float | None = None) -> list[StoreGarbage]:
    """Find the garbage of the store at a URI, or of every store below it if it is a root.

    Args:
        uri: A store, or a root of stores `<root>/<teacher>/<digest>`.
        older_than: Smallest age in seconds of garbage that may be removed; younger garbage is listed apart.
        now: The time, in seconds since the epoch; None means that of this machine.

    Raises:
        ValueError: The age is negative.
        StoreNotFoundError: The URI is named like a store, but nothing is there.
    """
    if not older_than >= 0:
        raise ValueError(f"an age must be 0 seconds or more, got {older_than}; use one that no upload exceeds")
    uri, now = join(uri), time.time() if now is None else now
    # List these before reading the records: records that are read later can only name more objects.
    leftovers = list_leftovers(uri)
    if _is_store(uri):
        return [_in_store(uri, leftovers, older_than, now)]
    if _DIGEST.fullmatch(uri.rpartition("/")[2]):
        if not leftovers and not list_objects(uri):
            raise StoreNotFoundError(f"a store to clean must be there, but there is nothing at {uri}; check the URI")
        return [_in_store(uri, leftovers, older_than, now)]
    places = {place for leftover in leftovers if (place := _place(leftover.key))}
    places |= {f"{teacher}/{name}" for teacher in list_folders(uri) for name in list_folders(join(uri, teacher))}
    stores = []
    for place in sorted(places):
        if _DIGEST.fullmatch(place.rpartition("/")[2]) or _is_store(join(uri, place)):
            stores.append(_in_store(join(uri, place), _below(place, leftovers), older_than, now))
            leftovers = [leftover for leftover in leftovers if not leftover.key.startswith(f"{place}/")]
    outside = tuple(leftover.key for leftover in leftovers)
    return [*stores, StoreGarbage(uri=uri, old=(), young=(), foreign=outside)] if outside else stores


def remove_garbage(store: StoreGarbage, *, progress: Callable[[int, int], None] | None = None) -> list[Garbage]:
    """Remove the old garbage of a store, unless it has come into use since it was found.

    Args:
        store: Recent result of `find_garbage`.
        progress: Called with the objects done and their total.

    Returns:
        The garbage that was removed.
    """
    removed: list[Garbage] = []
    wanted = [garbage for garbage in store.old if garbage.kind == UNFINISHED] + list(_still_useless(store))
    with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as pool:
        for garbage, _ in zip(wanted, pool.map(lambda garbage: _remove(store.uri, garbage), wanted), strict=True):
            removed.append(garbage)
            if progress is not None:
                progress(len(removed), len(wanted))
    return removed


def _is_store(uri: str) -> bool:
    return exists(join(uri, MANIFEST)) or exists(join(uri, IDENTITY))


def _place(key: str) -> str | None:
    """Returns `<teacher>/<digest>` of an unfinished write below a root: it may be all that exists of a store."""
    teacher, _, rest = key.partition("/")
    name, slash, _ = rest.partition("/")
    return f"{teacher}/{name}" if slash and _DIGEST.fullmatch(name) else None


def _below(place: str, leftovers: Iterable[Leftover]) -> list[Leftover]:
    start = f"{place}/"
    return [
        Leftover(
            key=leftover.key[len(start) :], started=leftover.started, upload_id=leftover.upload_id, size=leftover.size
        )
        for leftover in leftovers
        if leftover.key.startswith(start)
    ]


def _in_store(uri: str, leftovers: Sequence[Leftover], older_than: float, now: float) -> StoreGarbage:
    garbage = [
        Garbage(kind=UNFINISHED, key=write.key, size=write.size, since=write.started, leftover=write)
        for write in leftovers
    ]
    foreign: list[str] = []
    problem = None
    objects = list_objects(uri)
    try:
        spec, manifest = _records(uri)
    except StoreNotFoundError:
        problem = "a store has a manifest.json or a spec.json, but there is neither" if objects else None
    except ManifestError as error:
        problem = str(error)
    else:
        keys, roles = StoreKeys(spec), dict[Role, list[ObjectInfo]]()
        for info in objects:
            roles.setdefault(keys.role(info.key), []).append(info)
        foreign = [info.key for info in roles.get(Role.FOREIGN, ())]
        garbage += [
            Garbage(kind=OLD_CLAIM, key=info.key, size=info.size, since=info.modified)
            for info in roles.get(Role.CLAIM, ())
        ]
        garbage += _uncommitted(uri, keys, manifest, roles.get(Role.DATA, ()))
        if manifest is not None:
            garbage += _replaced(manifest, roles)
    return StoreGarbage(
        uri=uri,
        old=tuple(item for item in garbage if now - item.since >= older_than),
        young=tuple(item for item in garbage if not now - item.since >= older_than),
        foreign=tuple(foreign),
        problem=problem,
    )


def _records(uri: str) -> tuple[TrajectorySpec, Manifest | None]:
    """Returns a store's spec, and its manifest if it is sealed; raises `ManifestError` if either is unreliable."""
    try:
        manifest = read_manifest(uri)
    except StoreNotFoundError:
        return read_identity(uri), None
    try:
        same = digest(read_identity(uri)) == manifest.digest
    except StoreNotFoundError:
        same = True
    if not same:
        raise ManifestError(f"manifest.json and spec.json of {uri} must be of one spec, and are not")
    return manifest.spec, manifest


def _uncommitted(uri: str, keys: StoreKeys, manifest: Manifest | None, data: Iterable[ObjectInfo]) -> Iterator[Garbage]:
    """Yields data of shards without a commit record or a place in the manifest; their age is the youngest object's."""
    listed = manifest.num_shards if manifest is not None else 0
    shards: dict[int, list[ObjectInfo]] = {}
    for info in data:
        shard = keys.shard(info.key)
        if shard is not None and shard >= listed:
            shards.setdefault(shard, []).append(info)
    for shard in sorted(set(shards) - committed_shards(uri, after=listed - 1) if shards else ()):
        since = max(info.modified for info in shards[shard])
        for info in shards[shard]:
            yield Garbage(kind=UNCOMMITTED, key=info.key, size=info.size, since=since, shard=shard)


def _replaced(manifest: Manifest, roles: dict[Role, list[ObjectInfo]]) -> Iterator[Garbage]:
    """Yields pages and copies that the manifest does not name; none if there is a copy of a larger seal.

    Such a seal is still running, or was interrupted, and may need its pages.
    """
    copies, used = roles.get(Role.COPY, ()), {page.key for page in manifest.shards.pages}
    current = copy_key(manifest.num_samples)
    if any((len(info.key), info.key) > (len(current), current) for info in copies):
        return
    replaced_at = max((info.modified for info in roles.get(Role.MANIFEST, ())), default=float("inf"))
    for kind, candidates in ((OLD_PAGE, roles.get(Role.PAGE, ())), (OLD_COPY, copies)):
        for info in candidates:
            if info.key not in used and info.key != current:
                yield Garbage(kind=kind, key=info.key, size=info.size, since=max(info.modified, replaced_at))


def _still_useless(store: StoreGarbage) -> Iterator[Garbage]:
    """Yields old garbage, without unfinished writes and without objects that a newer record has brought into use."""
    uri, candidates = store.uri, [garbage for garbage in store.old if garbage.kind != UNFINISHED]
    if not candidates:
        return
    _, manifest = _records(uri)
    used = {copy_key(manifest.num_samples), *(page.key for page in manifest.shards.pages)} if manifest else set()
    listed = manifest.num_shards if manifest else 0
    shards = {garbage.shard for garbage in candidates if garbage.shard is not None}
    finished = {shard for shard in shards if shard < listed or exists(commit_uri(uri, shard))}
    for garbage in candidates:
        if garbage.shard not in finished and garbage.key not in used:
            yield garbage


def _remove(uri: str, garbage: Garbage) -> None:
    if garbage.leftover is not None:
        remove_leftover(uri, garbage.leftover)
    else:
        delete(join(uri, garbage.key))
