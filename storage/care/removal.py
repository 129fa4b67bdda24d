"""Removes a whole store, and nothing else.

Only keys that were listed below the store's prefix are deleted. The manifest is deleted first, so that no reader opens
a store that is partly gone, and `spec.json` last: after a kill in between, an unsealed store is left, which can be
removed again. Symbolic links inside a local store are unlinked and never followed.
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
    """Everything that `remove_store` removes with a store."""

    uri: str
    spec: TrajectorySpec
    sealed: bool
    objects: dict[Role, tuple[ObjectInfo, ...]]
    """Objects by their role in the store; those of `Role.FOREIGN` were put there by others."""
    leftovers: tuple[Leftover, ...]
    """Unfinished writes."""

    @property
    def num_objects(self) -> int:
        """Number of finished objects."""
        return sum(map(len, self.objects.values()))

    @property
    def total_bytes(self) -> int:
        """Bytes of the finished objects."""
        return sum(info.size for group in self.objects.values() for info in group)


def store_contents(uri: str) -> StoreContents:
    """Lists what `remove_store` would remove.

    Raises:
        StoreNotFoundError: there is no store at this URI; the message names stores below it, if any.
        ManifestError: neither `spec.json` nor the manifest can be read.
        StoreError: there is another store below this one, or an object whose name leads out of it.
    """
    uri = join(uri)
    if _is_link(uri):
        raise StoreError(f"a store to remove must be named itself, but {uri} is a symbolic link; name its target")
    spec, sealed = _identity(uri)
    keys = StoreKeys(spec)
    objects: dict[Role, list[ObjectInfo]] = {}
    for info in list_objects(uri):
        if _OTHER_STORE.fullmatch(info.key):
            raise StoreError(
                f"a store is removed with all that is below it, but another one lies at {join(uri, info.key)}; move "
                "either of them away"
            )
        if any(step in ("", ".", "..") for step in info.key.split("/")):
            raise StoreError(
                f"a store to remove must hold plain names, but there is the foreign object {info.key!r} below {uri}; "
                "delete it with the tools of the object store"
            )
        objects.setdefault(keys.role(info.key), []).append(info)
    return StoreContents(
        uri=uri,
        spec=spec,
        sealed=sealed,
        objects={role: tuple(group) for role, group in objects.items()},
        leftovers=tuple(list_leftovers(uri)),
    )


def remove_store(contents: StoreContents, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Removes a store and, on disk, its folder.

    Args:
        contents: result of `store_contents`.
        progress: called with the number of objects done and their total.

    Raises:
        StoreError: new objects appeared meanwhile, because another process writes to the store. `spec.json` is kept.
    """
    uri, total, done = contents.uri, contents.num_objects + len(contents.leftovers), 0
    if not _identity_is_good(uri):
        # If this call is interrupted after the manifest is gone, the next one needs the spec.
        write_identity(uri, contents.spec)
    with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as pool:
        for keys in _phases(contents):
            for _ in pool.map(lambda key: delete(join(uri, key)), keys):
                done += 1
                if progress is not None:
                    progress(done, total)
        for leftover in contents.leftovers:
            remove_leftover(uri, leftover)
    appeared = [info.key for info in list_objects(uri) if info.key != IDENTITY]
    if appeared:
        raise StoreError(
            f"a store to remove must be left alone by others, but {len(appeared)} objects appeared in {uri} meanwhile, "
            f"{appeared[0]} among them; stop the process that writes there and run the same command again"
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
    """Returns the spec of a store, and whether it has a manifest."""
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
            f"one store is removed at a time, but {uri} is no store and holds {len(below)} below it; name one of them, "
            f"such as {join(uri, below[0])}"
        )
    return f"a store to remove must be there, but {uri} has neither spec.json nor manifest.json; check the URI"


def _folders(uri: str) -> Iterator[str]:
    """Yields folders one and two levels below, where a root or a teacher's folder holds its stores."""
    for name in list_folders(uri):
        yield name
        yield from (f"{name}/{below}" for below in list_folders(join(uri, name)))


def _phases(contents: StoreContents) -> Iterator[Sequence[str]]:
    """Yields the phases of keys to delete, without `spec.json`; each phase must end before the next one starts."""
    first = (Role.MANIFEST, Role.COMMIT, Role.DATA)
    for role in (*first, *(role for role in contents.objects if role not in (*first, Role.IDENTITY))):
        yield [info.key for info in contents.objects.get(role, ())]


def _is_link(uri: str) -> bool:
    folder = local_folder(uri)
    return folder is not None and folder.is_symlink()


def _empty(folder: Path) -> None:
    """Unlinks the symbolic links below a folder, and removes the folders that are then empty."""
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
