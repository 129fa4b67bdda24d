"""What killed writers of published folders have left in an object store, found and removed; see `storage.folders`.

Only files that such a writer has named are ever touched, and only where the folder is not whole.
"""

import re
from collections.abc import Iterable, Iterator

from storage.folders import UNFINISHED, read_contents, unfinished_files
from storage.objects import exists, join, list_folders, list_objects, local_folder

_STORE = re.compile(r"[0-9a-f]{16}")


def begun_folders(root: str, stores: Iterable[str]) -> list[str]:
    """URIs of the folders below a root that a writer has begun and not finished; those of stores are not looked into.

    On this machine's disk there are none: there a folder appears by a rename.
    """
    if local_folder(root) is not None:
        return []
    return list(_begun(root, frozenset(stores)))


def files_left(uri: str) -> tuple[dict[str, int], float]:
    """Names and sizes of what is left of a folder, and when its writer last wrote; of a whole one, its stale note."""
    named = {UNFINISHED, *unfinished_files(uri)}
    objects = list_objects(uri)
    left = {one.key: one.size for one in objects if one.key in named}
    # The note goes last, as it tells what the others are.
    return {name: left[name] for name in sorted(left, key=lambda name: (name == UNFINISHED, name))}, max(
        (one.modified for one in objects), default=float("inf")
    )


def still_left(uri: str, keys: Iterable[str]) -> list[str]:
    """Those of the files that no writer has finished meanwhile."""
    whole = read_contents(uri) is not None
    return [key for key in keys if key == UNFINISHED or not whole]


def _begun(uri: str, stores: frozenset[str]) -> Iterator[str]:
    if uri in stores or _STORE.fullmatch(uri.rpartition("/")[2]):
        return
    if exists(join(uri, UNFINISHED)):
        yield uri
    for name in list_folders(uri):
        yield from _begun(join(uri, name), stores)
