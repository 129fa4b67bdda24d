"""Finds and removes what a store no longer needs, and nothing else.

- unfinished writes: temporary files of killed local writes;
- data objects of shards without a commit record: their worker was killed between data and record (law 3);
- claims of runs that were killed;
- index pages and copies of the manifest from before the store was extended;
- below a root: autoencoders and embeddings that no store there names, by the age of their youngest file
  (`storage.care.companions`);
- below a root in an object store: files of published folders whose writer was killed (`storage.care.folder_garbage`).

Only garbage of a given age is removed. A shard that is being uploaded looks like one whose worker was killed, and a
reader that opened the store before it grew still reads old pages. So choose an age that no upload of a shard and no
reader exceeds. The age of a shard is that of its youngest object, the age of an old page or copy that of the manifest
that replaced it. Ages are those of other clocks, so they must exceed the given one by `CLOCK_MARGIN_SECONDS`, unless it
is 0. Foreign objects and unreadable stores are reported and not changed.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from storage.care.companions import UnusedCompanion, is_unused, remove_companion, unused_companions
from storage.care.folder_garbage import BegunFolder, begun_folders, still_left
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

UNFINISHED, UNPUBLISHED, OLD_CLAIM, UNCOMMITTED, OLD_PAGE, OLD_COPY, UNUSED_COMPANION = (
    "unfinished write",
    "file of a folder that is not whole",
    "claim of a run that was killed",
    "data of a shard without a commit record",
    "index page from before an extension",
    "copy of a manifest from before an extension",
    "decoder or embeddings that no store names",
)

CLOCK_MARGIN_SECONDS = 900.0
"""By how much the clocks of a writer, its object store and this machine may differ; S3 refuses more."""

_DIGEST = re.compile(r"[0-9a-f]{16}")
_DELETIONS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """One object or unfinished write that the store does not need."""

    kind: str
    """`UNFINISHED`, `UNPUBLISHED`, `OLD_CLAIM`, `UNCOMMITTED`, `OLD_PAGE`, `OLD_COPY` or `UNUSED_COMPANION`."""
    key: str
    """Key of the object, relative to the store."""
    size: int
    """Size in bytes."""
    since: float
    """Since when it is known to be useless, in seconds since the epoch."""
    shard: int | None = None
    """Number of the shard, only for `UNCOMMITTED`."""
    leftover: Leftover | None = None
    """The unfinished write, only for `UNFINISHED`."""


@dataclass(frozen=True, kw_only=True)
class StoreGarbage:
    """The garbage in one store, or in one published folder."""

    uri: str
    old: tuple[Garbage, ...]
    """Garbage that is old enough to be removed."""
    young: tuple[Garbage, ...]
    """Other garbage, which stays, because a process may be writing it."""
    foreign: tuple[str, ...]
    """Keys that this package never writes; these objects stay."""
    problem: str | None = None
    """Why only unfinished writes were searched for; None if everything was."""


def find_garbage(uri: str, older_than: float, *, now: float | None = None) -> list[StoreGarbage]:
    """Finds the garbage of the store at a URI, or of every store and published folder below a root.

    Args:
        uri: URI of a store, or a root of stores `<root>/<teacher>/<digest>`.
        older_than: age of `StoreGarbage.old` in seconds, to which `CLOCK_MARGIN_SECONDS` are added unless it is 0;
            younger garbage is reported as `StoreGarbage.young`.
        now: the time in seconds since the epoch; None: this machine's.

    Raises:
        ValueError: the age is negative.
        StoreNotFoundError: the URI is that of a store, but nothing is there.
    """
    if not older_than >= 0:
        raise ValueError(f"an age must be 0 seconds or more, got {older_than}; use one that no upload exceeds")
    older_than += CLOCK_MARGIN_SECONDS if older_than else 0.0
    uri, now = join(uri), time.time() if now is None else now
    # Listed before the records are read, because records written in between can only make more objects useful.
    leftovers = list_leftovers(uri)
    if _is_store(uri):
        return [_in_store(uri, leftovers, older_than, now)]
    if _DIGEST.fullmatch(uri.rpartition("/")[2]):
        if not leftovers and not list_objects(uri):
            raise StoreNotFoundError(f"a store to clean must be there, but there is nothing at {uri}; check the URI")
        return [_in_store(uri, leftovers, older_than, now)]
    places = {place for leftover in leftovers if (place := _place(leftover.key))}
    places |= {f"{teacher}/{name}" for teacher in list_folders(uri) for name in list_folders(join(uri, teacher))}
    garbage = []
    for place in sorted(places):
        if _DIGEST.fullmatch(place.rpartition("/")[2]) or _is_store(join(uri, place)):
            garbage.append(_in_store(join(uri, place), _below(place, leftovers), older_than, now))
            leftovers = [leftover for leftover in leftovers if not leftover.key.startswith(f"{place}/")]
    stores = [store.uri for store in garbage]
    garbage += [_in_folder(begun, UNPUBLISHED, begun.claims, older_than, now) for begun in begun_folders(uri, stores)]
    garbage += [_in_folder(kept, UNUSED_COMPANION, (), older_than, now) for kept in unused_companions(uri)]
    outside = tuple(leftover.key for leftover in leftovers)
    return [*garbage, StoreGarbage(uri=uri, old=(), young=(), foreign=outside)] if outside else garbage


def remove_garbage(garbage: StoreGarbage, *, progress: Callable[[int, int], None] | None = None) -> list[Garbage]:
    """Removes the old garbage of a store, except objects that have become useful since.

    Args:
        garbage: a recent result of `find_garbage`.
        progress: called with the number of objects done and their total.

    Returns:
        The garbage that was removed.
    """
    if any(item.kind == UNUSED_COMPANION for item in garbage.old):
        return _remove_companion(garbage, progress)
    removed: list[Garbage] = []
    wanted = [item for item in garbage.old if item.kind == UNFINISHED] + list(_still_useless(garbage))
    # The files of a folder are removed one by one, because the last of them names the others.
    in_order = any(item.kind == UNPUBLISHED for item in wanted)
    with ThreadPoolExecutor(1 if in_order else _DELETIONS_AT_ONCE) as pool:
        for item, _ in zip(wanted, pool.map(lambda item: _remove(garbage.uri, item), wanted), strict=True):
            removed.append(item)
            if progress is not None:
                progress(len(removed), len(wanted))
    return removed


def _is_store(uri: str) -> bool:
    return exists(join(uri, MANIFEST)) or exists(join(uri, IDENTITY))


def _place(key: str) -> str | None:
    """Returns `<teacher>/<digest>` of an unfinished write below a root, which may be all there is of a store."""
    teacher, _, rest = key.partition("/")
    name, slash, _ = rest.partition("/")
    return f"{teacher}/{name}" if slash and _DIGEST.fullmatch(name) else None


def _below(place: str, leftovers: Iterable[Leftover]) -> list[Leftover]:
    start = f"{place}/"
    return [
        replace(leftover, key=leftover.key[len(start) :]) for leftover in leftovers if leftover.key.startswith(start)
    ]


def _in_folder(
    folder: BegunFolder | UnusedCompanion, kind: str, claims: Iterable[ObjectInfo], older_than: float, now: float
) -> StoreGarbage:
    garbage = [Garbage(kind=kind, key=file.key, size=file.size, since=folder.since) for file in folder.files]
    garbage += [Garbage(kind=OLD_CLAIM, key=claim.key, size=claim.size, since=claim.modified) for claim in claims]
    return _by_age(folder.uri, garbage, older_than, now)


def _by_age(uri: str, garbage: Sequence[Garbage], older_than: float, now: float) -> StoreGarbage:
    """Divides garbage into old and young."""
    old = tuple(item for item in garbage if now - item.since >= older_than)
    return StoreGarbage(uri=uri, old=old, young=tuple(item for item in garbage if item not in old), foreign=())


def _remove_companion(garbage: StoreGarbage, progress: Callable[[int, int], None] | None) -> list[Garbage]:
    """Removes a decoder or embeddings as a whole, unless a store has come to name it."""
    removed = list(garbage.old) if is_unused(garbage.uri) else []
    if removed:
        remove_companion(garbage.uri)
    if progress is not None:
        progress(len(removed), len(removed))
    return removed


def _in_store(uri: str, leftovers: Sequence[Leftover], older_than: float, now: float) -> StoreGarbage:
    garbage = [
        Garbage(kind=UNFINISHED, key=leftover.key, size=leftover.size, since=leftover.started, leftover=leftover)
        for leftover in leftovers
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
        for entry in objects:
            roles.setdefault(keys.role(entry.key), []).append(entry)
        foreign = [entry.key for entry in roles.get(Role.FOREIGN, ())]
        garbage += [
            Garbage(kind=OLD_CLAIM, key=claim.key, size=claim.size, since=claim.modified)
            for claim in roles.get(Role.CLAIM, ())
        ]
        garbage += _uncommitted(uri, keys, manifest, roles.get(Role.DATA, ()))
        if manifest is not None:
            garbage += _replaced(manifest, roles)
    return replace(_by_age(uri, garbage, older_than, now), foreign=tuple(foreign), problem=problem)


def _records(uri: str) -> tuple[TrajectorySpec, Manifest | None]:
    """Returns the spec of a store, and its manifest if it is sealed; raises `ManifestError` if one is unreliable."""
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
    """Yields the data of shards that neither a record nor the manifest lists, with the time of the youngest object."""
    listed = manifest.num_shards if manifest is not None else 0
    shards: dict[int, list[ObjectInfo]] = {}
    for entry in data:
        shard = keys.shard(entry.key)
        if shard is not None and shard >= listed:
            shards.setdefault(shard, []).append(entry)
    for shard in sorted(set(shards) - committed_shards(uri, after=listed - 1) if shards else ()):
        since = max(entry.modified for entry in shards[shard])
        for entry in shards[shard]:
            yield Garbage(kind=UNCOMMITTED, key=entry.key, size=entry.size, since=since, shard=shard)


def _replaced(manifest: Manifest, roles: dict[Role, list[ObjectInfo]]) -> Iterator[Garbage]:
    """Yields pages and copies that the manifest does not name; nothing if there is the copy of a larger seal.

    Such a seal is running or was interrupted, and may need its pages.
    """
    copies, used = roles.get(Role.COPY, ()), {page.key for page in manifest.shards.pages}
    current = copy_key(manifest.num_samples)
    if any((len(copy.key), copy.key) > (len(current), current) for copy in copies):
        return
    replaced_at = max((entry.modified for entry in roles.get(Role.MANIFEST, ())), default=float("inf"))
    for kind, candidates in ((OLD_PAGE, roles.get(Role.PAGE, ())), (OLD_COPY, copies)):
        for entry in candidates:
            if entry.key not in used and entry.key != current:
                yield Garbage(kind=kind, key=entry.key, size=entry.size, since=max(entry.modified, replaced_at))


def _still_useless(garbage: StoreGarbage) -> Iterator[Garbage]:
    """Yields the old garbage that is no unfinished write, except what a newer record has made useful."""
    uri, candidates = garbage.uri, [item for item in garbage.old if item.kind != UNFINISHED]
    if not candidates:
        return
    if all(item.kind in (UNPUBLISHED, OLD_CLAIM) for item in candidates):
        left = still_left(uri, [item.key for item in candidates if item.kind == UNPUBLISHED])
        yield from (item for item in candidates if item.key in left or item.kind == OLD_CLAIM)
        return
    _, manifest = _records(uri)
    used = {copy_key(manifest.num_samples), *(page.key for page in manifest.shards.pages)} if manifest else set()
    listed = manifest.num_shards if manifest else 0
    shards = {item.shard for item in candidates if item.shard is not None}
    finished = {shard for shard in shards if shard < listed or exists(commit_uri(uri, shard))}
    for item in candidates:
        if item.shard not in finished and item.key not in used:
            yield item


def _remove(uri: str, item: Garbage) -> None:
    if item.leftover is not None:
        remove_leftover(uri, item.leftover)
    else:
        delete(join(uri, item.key))
