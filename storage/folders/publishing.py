"""Writing a folder to a URI, replacing it, removing it; a kill at any instant leaves no half of it to be read.

Two writers of one folder at the same time are kept apart by a claim (`storage.writing.CLAIMS`) of their own. Where that
fails the files of one may lie beside the contents of the other, which every reader finds out.
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
    """Copies a local folder to a URI, whole; what is there already with the same contents is left as it is.

    A folder that is replaced is gone until the new one is there.

    Args:
        folder: local; hidden files are left out. Each of the others is held in memory while it is sent.
        uri: of the folder.

    Returns:
        Whether anything had to be copied.

    Raises:
        ValueError: a file has the name of a record.
        StoreError: the object store did not take it; what was begun is named and can be removed.
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
    """Removes a published folder with all of its files; one that is not there is no error."""
    contents = read_contents(uri)
    if contents is not None:
        write_unfinished(uri, {*contents.files, *(read_unfinished(uri) or ())})
        delete(join(uri, CONTENTS))
    clear_unfinished(uri)


def unfinished_files(uri: str) -> list[str]:
    """Names of what a writer that was killed has left of a folder; none of a folder that is whole."""
    return (read_unfinished(uri) or []) if read_contents(uri) is None else []


def clear_unfinished(uri: str) -> None:
    """Removes what a killed writer has left of a folder; a whole one stays as it is.

    Only for those who know that no writer is at work.
    """
    _delete(uri, unfinished_files(uri))
    delete(join(uri, UNFINISHED))


def unfinished_below(uri: str) -> list[str]:
    """URIs of the folders at and below a prefix which a writer has begun and not finished."""
    keys = list_prefix(uri)
    return [join(uri, *key.split("/")[:-1]) for key in keys if key.rpartition("/")[2] == UNFINISHED]


def probe_folder(uri: str) -> None:
    """Finds out whether a folder can be written, by the object that a writer begins with.

    Raises:
        StoreError: it cannot.
    """
    noted = read_unfinished(uri)
    write_unfinished(uri, noted or ())
    if noted is None:
        delete(join(uri, UNFINISHED))


def _delete(uri: str, names: Iterable[str]) -> None:
    for name in sorted(names):
        delete(join(uri, name))
