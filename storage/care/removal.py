"""Removing a whole store, and nothing but it.

Only keys that were listed below the store's prefix are deleted. The manifest goes first, so that nobody opens what is
half gone, and `spec.json` last: after a kill in between there is an unsealed store, which can be removed again.
Symbolic links inside a local store are unlinked and never followed.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage.care.keys import Role, StoreKeys
from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import (
    Leftover,
    ObjectInfo,
    delete,
    exists,
    join,
    list_folders,
    list_leftovers,
    list_objects,
    local_folder,
    remove_leftover,
)
from storage.records import IDENTITY, MANIFEST, TrajectorySpec, read_identity, read_manifest, write_identity

_DELETIONS_AT_ONCE = 8
_OTHER_STORE = re.compile(rf".+/({re.escape(MANIFEST)}|{re.escape(IDENTITY)})")


@dataclass(frozen=True, kw_only=True)
class StoreContents:
    """Everything that is removed with a store."""

    uri: str
    spec: TrajectorySpec
    sealed: bool
    objects: dict[Role, tuple[ObjectInfo, ...]]
    """By what they are to the store; `Role.FOREIGN` are those that were put there by others."""
    leftovers: tuple[Leftover, ...]
    """Unfinished writes."""

    @property
    def num_objects(self) -> int:
        """Finished objects."""
        return sum(map(len, self.objects.values()))

    @property
    def total_bytes(self) -> int:
        """Bytes of the finished objects."""
        return sum(one.size for group in self.objects.values() for one in group)


def store_contents(uri: str) -> StoreContents:
    """What `remove_store` would remove.

    Raises:
        StoreNotFoundError: There is no store at this URI; where there are stores below it, the message says so.
        ManifestError: Neither `spec.json` nor the manifest can be read.
        StoreError: There is another store below this one, or an object whose name leads elsewhere.
    """
    uri = join(uri)
    if _is_link(uri):
        raise StoreError(f"a store to remove must be named itself, but {uri} is a symbolic link; name its target")
    spec, sealed = _identity(uri)
    found, keys = list_objects(uri), StoreKeys(spec)
    objects: dict[Role, list[ObjectInfo]] = {}
    for one in found:
        if _OTHER_STORE.fullmatch(one.key):
            raise StoreError(
                f"a store is removed with all that is below it, but another one lies at {join(uri, one.key)}; move "
                "either of them away"
            )
        if any(step in ("", ".", "..") for step in one.key.split("/")):
            raise StoreError(
                f"a store to remove must hold plain names, but there is the foreign object {one.key!r} below {uri}; "
                "delete that one with the tools of the object store"
            )
        objects.setdefault(keys.role(one.key), []).append(one)
    return StoreContents(
        uri=uri,
        spec=spec,
        sealed=sealed,
        objects={role: tuple(group) for role, group in objects.items()},
        leftovers=tuple(list_leftovers(uri)),
    )


def remove_store(found: StoreContents, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Remove a store and, on disk, its folder.

    Args:
        found: From `store_contents`.
        progress: Called with objects done and objects in all.

    Raises:
        StoreError: New objects appear meanwhile: somebody is writing to the store. Its `spec.json` stays.
    """
    uri, total, done = found.uri, found.num_objects + len(found.leftovers), 0
    if not _identity_is_good(uri):
        # Whoever is interrupted after the manifest has gone must find out whose store this was.
        write_identity(uri, found.spec)
    with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as pool:
        for keys in _phases(found):
            for _ in pool.map(lambda key: delete(join(uri, key)), keys):
                done += 1
                if progress is not None:
                    progress(done, total)
        for leftover in found.leftovers:
            remove_leftover(uri, leftover)
    appeared = [one.key for one in list_objects(uri) if one.key != IDENTITY]
    if appeared:
        raise StoreError(
            f"a store to remove must be left alone by others, but {len(appeared)} objects appeared in {uri} meanwhile, "
            f"{appeared[0]} among them; stop who writes there and run the same command again"
        )
    folder = local_folder(uri)
    if folder is not None:
        _empty(folder)
    delete(join(uri, IDENTITY))
    if folder is not None:
        _remove_if_empty(folder)
    if progress is not None:
        progress(total, total)


def _identity(uri: str) -> tuple[TrajectorySpec, bool]:
    """Whose store this is, and whether it has a manifest."""
    try:
        return read_identity(uri), exists(join(uri, MANIFEST))
    except (ManifestError, StoreNotFoundError) as error:
        missing = isinstance(error, StoreNotFoundError)
        unreadable = str(error)
    try:
        return read_manifest(uri).spec, True
    except ManifestError as error:
        unreadable = str(error)
    except StoreNotFoundError:
        if missing:
            raise StoreNotFoundError(_no_store(uri)) from None
    raise ManifestError(
        f"a store to remove must have a spec.json or a manifest.json that can be read, so that nothing else is removed "
        f"by mistake, but {uri} has none: {unreadable}; if it is to go, delete it by hand"
    )


def _identity_is_good(uri: str) -> bool:
    try:
        read_identity(uri)
    except (ManifestError, StoreNotFoundError):
        return False
    return True


def _no_store(uri: str) -> str:
    below = [name for name in _folders(uri) if any(exists(join(uri, name, key)) for key in (MANIFEST, IDENTITY))]
    if below:
        return (
            f"one store is removed at a time, and {uri} is none but holds {len(below)} below it; name one of them, as "
            f"{join(uri, below[0])}"
        )
    return f"a store to remove must be there, but {uri} has neither spec.json nor manifest.json; check the URI"


def _folders(uri: str) -> Iterator[str]:
    """Folders one and two levels below, where a root or a teacher's folder has its stores."""
    for name in list_folders(uri):
        yield name
        yield from (f"{name}/{below}" for below in list_folders(join(uri, name)))


def _phases(found: StoreContents) -> Iterator[Sequence[str]]:
    """Keys in the order in which they go, `spec.json` excepted: no phase begins before the one before has ended."""
    first = (Role.MANIFEST, Role.COMMIT, Role.DATA)
    for role in (*first, *(role for role in found.objects if role not in (*first, Role.IDENTITY))):
        yield [one.key for one in found.objects.get(role, ())]


def _is_link(uri: str) -> bool:
    folder = local_folder(uri)
    return folder is not None and folder.is_symlink()


def _empty(folder: Path) -> None:
    """Unlink the symbolic links below a folder and remove the folders that are empty then."""
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_symlink():
                delete(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                _empty(Path(entry.path))
                _remove_if_empty(Path(entry.path))


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.absolute().rmdir()
    except OSError as error:
        raise StoreError(
            f"the folder of a removed store must be empty, but {folder} cannot be removed: {error.strerror}; look what "
            "is left there and remove it by hand"
        ) from error
