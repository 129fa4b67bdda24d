"""What killed writers of published folders have left in an object store, found and removed; see `storage.folders`.

Only files that such a writer has named are ever touched, and only where the folder is not whole; and claims, which lie
beside or in the folders.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.folders import UNFINISHED, read_contents, unfinished_files
from storage.objects import ObjectInfo, join, list_level, list_objects, local_folder
from storage.writing import CLAIM_ENDING

_STORE = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class BegunFolder:
    """A folder that a writer has begun and not finished, or one with claims."""

    uri: str
    files: tuple[ObjectInfo, ...]
    """What is left of it; of a whole folder the note alone. In the order in which it can be removed."""
    since: float
    """When its writer last wrote."""
    claims: tuple[ObjectInfo, ...]
    """Right below it."""


def begun_folders(root: str, stores: Iterable[str]) -> Iterator[BegunFolder]:
    """The folders below a root that a killed writer has left something of; stores are not looked into.

    On this machine's disk there are none: there a folder appears by a rename.
    """
    if local_folder(root) is None:
        yield from _begun(root, frozenset(stores))


def still_left(uri: str, keys: Iterable[str]) -> list[str]:
    """Those of the files that no writer has finished meanwhile."""
    whole = read_contents(uri) is not None
    return [key for key in keys if key == UNFINISHED or not whole]


def _begun(uri: str, stores: frozenset[str]) -> Iterator[BegunFolder]:
    if uri in stores or _STORE.fullmatch(uri.rpartition("/")[2]):
        return
    level = list_level(uri)
    files, since = _files(uri) if any(entry.key == UNFINISHED for entry in level.objects) else ((), float("inf"))
    claims = tuple(entry for entry in level.objects if entry.key.endswith(CLAIM_ENDING))
    if files or claims:
        yield BegunFolder(uri, files, since, claims)
    for name in level.folders:
        yield from _begun(join(uri, name), stores)


def _files(uri: str) -> tuple[tuple[ObjectInfo, ...], float]:
    named, objects = {UNFINISHED, *unfinished_files(uri)}, list_objects(uri)
    # The note goes last, as it tells what the others are.
    left = sorted((file for file in objects if file.key in named), key=lambda file: (file.key == UNFINISHED, file.key))
    return tuple(left), max((file.modified for file in objects), default=float("inf"))
