"""Publishes, replaces and removes folders; if the process is killed at any instant, no partial folder can be read.

Concurrent writers of a folder must hold its claim (`storage.writing.CLAIMS`). If the claim fails, the files of one
writer may lie beside the contents of the other, which readers detect.
"""

from collections.abc import Iterable
from pathlib import Path

from storage.folders.contents import (
    CONTENTS,
    UNFINISHED,
    FolderContents,
    leads_down,
    read_contents,
    read_unfinished,
    write_contents,
    write_unfinished,
)
from storage.objects import delete, join, list_prefix, write_bytes


def publish_folder(folder: Path, uri: str) -> bool:
    """Publishes a local folder at a URI, all or nothing; keeps a published folder with the same contents.

    While a folder is replaced, there is none.

    Args:
        folder: local folder, without hidden files; each file is held in memory while it is sent.
        uri: URI of the published folder.

    Returns:
        Whether files were copied.

    Raises:
        ValueError: a file has the name of a record.
        StoreError: the object store refuses a file; the unfinished files are noted and can be removed.
    """
    new, old = FolderContents.of(folder), read_contents(uri)
    for name in new.files:
        if not leads_down(name):
            raise ValueError(f"a published folder's files must have names of their own, got {name!r}; rename it")
    if old == new:
        delete(join(uri, UNFINISHED))
        return False
    stale = {*(old.files if old else ()), *(read_unfinished(uri) or ())} - new.files.keys()
    write_unfinished(uri, stale | new.files.keys())
    if old is not None:
        delete(join(uri, CONTENTS))
    for name in new.files:
        write_bytes(join(uri, name), (folder / name).read_bytes())
    _delete(uri, stale)
    write_contents(uri, new)
    delete(join(uri, UNFINISHED))
    return True


def remove_published(uri: str) -> None:
    """Removes a published folder with all of its files; a missing folder is no error."""
    contents = read_contents(uri)
    if contents is not None:
        write_unfinished(uri, {*contents.files, *(read_unfinished(uri) or ())})
        delete(join(uri, CONTENTS))
    clear_unfinished(uri)


def unfinished_files(uri: str) -> list[str]:
    """Returns the names of the files that a killed writer has left; none if the folder is complete."""
    return (read_unfinished(uri) or []) if read_contents(uri) is None else []


def clear_unfinished(uri: str) -> None:
    """Removes the files that a killed writer has left; keeps a complete folder.

    The caller must know that no writer is running.
    """
    _delete(uri, unfinished_files(uri))
    delete(join(uri, UNFINISHED))


def unfinished_below(uri: str) -> list[str]:
    """Returns the URIs of the unfinished folders at and below a prefix."""
    keys = list_prefix(uri)
    return [join(uri, *key.split("/")[:-1]) for key in keys if key.rpartition("/")[2] == UNFINISHED]


def probe_folder(uri: str) -> None:
    """Checks that a folder can be written, by the object that a writer writes first.

    Raises:
        StoreError: the folder cannot be written.
    """
    noted = read_unfinished(uri)
    write_unfinished(uri, noted or ())
    if noted is None:
        delete(join(uri, UNFINISHED))


def _delete(uri: str, names: Iterable[str]) -> None:
    for name in sorted(names):
        delete(join(uri, name))
