"""Fetches a published folder into a local one, and checks every byte against the record."""

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

from storage.errors import FolderDamagedError, StoreNotFoundError
from storage.folders.contents import CONTENTS, read_contents
from storage.objects import join, read_bytes, read_range

PART_BYTES = 64 << 20


def fetch_folder(uri: str, folder: Path, only: Collection[str] | None = None) -> None:
    """Copies the files of a published folder into a local one.

    Args:
        uri: URI of the published folder.
        folder: local folder; created if necessary.
        only: names of the files to copy; None: all.

    Raises:
        StoreNotFoundError: there is no whole folder.
        FolderDamagedError: a file is missing or another one than the record says.
        OSError: the local folder cannot be written.
    """
    contents = read_contents(uri)
    if contents is None:
        raise StoreNotFoundError(
            f"a folder to read must be whole, but {uri} has no {CONTENTS}; wait until it is written"
        )
    for name, facts in contents.files.items():
        if only is None or name in only:
            try:
                sha256 = fetch_file(join(uri, name), folder / name, facts.bytes)
            except StoreNotFoundError as error:
                raise _damaged(uri, name) from error
            if sha256 != facts.sha256:
                raise _damaged(uri, name)


def read_file(uri: str, name: str) -> bytes:
    """Reads a file of a published folder.

    Raises:
        StoreNotFoundError: there is no whole folder, or none with such a file.
        FolderDamagedError: the file is another one than the record says.
    """
    contents = read_contents(uri)
    if contents is None or name not in contents.files:
        raise StoreNotFoundError(f"a file to read must be one of a whole folder, but {uri} has no {name}; wait for it")
    data = read_bytes(join(uri, name))
    if hashlib.sha256(data).hexdigest() != contents.files[name].sha256:
        raise _damaged(uri, name)
    return data


def fetch_file(uri: str, path: Path, size: int, arrived: Callable[[int], object] = int) -> str:
    """Copies an object into a new local file, in parts, and returns its sha256.

    Args:
        uri: Of the object.
        path: Of the file, which must not be there.
        size: Of the object in bytes.
        arrived: Called with the bytes of each part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sha = hashlib.sha256()
    with path.open("xb") as file:
        for start in range(0, size, PART_BYTES):
            part = read_range(uri, start, min(start + PART_BYTES, size))
            sha.update(part)
            file.write(part)
            arrived(len(part))
    return sha.hexdigest()


def _damaged(uri: str, name: str) -> FolderDamagedError:
    return FolderDamagedError(
        f"a folder's files must be those of its {CONTENTS}, got another {name} in {uri}; remove that folder and run "
        "again to have it made anew"
    )
