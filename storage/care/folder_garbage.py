"""Finds what killed writers of published folders have left in an object store; see `storage.folders`.

Considers only claims, which lie beside or in the folders, and files that such a writer has named in its note, if the
folder is incomplete.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.folders import UNFINISHED, read_contents, unfinished_files
from storage.objects import ObjectInfo, join, list_level, list_objects, local_folder
from storage.writing import is_folder_claim

_STORE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class BegunFolder:
    """An unfinished folder, or a folder with claims."""

    uri: str
    files: tuple[ObjectInfo, ...]
    """The folder's unfinished files, or only the note if the folder is complete; in the order of their removal."""
    since: float
    """When the folder was last written to, in seconds since the epoch."""
    claims: tuple[ObjectInfo, ...]
    """The claims directly below the folder."""


def begun_folders(root: str, stores: Iterable[str]) -> Iterator[BegunFolder]:
    """Yields the unfinished folders, and folders with claims, below a root; leaves out stores.

    On this machine's disk there are none, because a rename publishes a folder there.
    """
    if local_folder(root) is None:
        yield from _begun(root, frozenset(stores))


def still_left(uri: str, keys: Iterable[str]) -> list[str]:
    """Returns the keys of those files that no writer has finished since they were found."""
    whole = read_contents(uri) is not None
    return [key for key in keys if key == UNFINISHED or not whole]


def _begun(uri: str, stores: frozenset[str]) -> Iterator[BegunFolder]:
    if uri in stores or _STORE.fullmatch(uri.rpartition("/")[2]):
        return
    level = list_level(uri)
    files, since = _files(uri) if any(entry.key == UNFINISHED for entry in level.objects) else ((), float("inf"))
    claims = tuple(entry for entry in level.objects if is_folder_claim(entry.key))
    if files or claims:
        yield BegunFolder(uri, files, since, claims)
    for name in level.folders:
        yield from _begun(join(uri, name), stores)


def _files(uri: str) -> tuple[tuple[ObjectInfo, ...], float]:
    named, objects = {UNFINISHED, *unfinished_files(uri)}, list_objects(uri)
    # The note is removed last, because it names the other files.
    left = sorted((file for file in objects if file.key in named), key=lambda file: (file.key == UNFINISHED, file.key))
    return tuple(left), max((file.modified for file in objects), default=float("inf"))
