"""Temporary local folders of a process, `<cache>/scratch/<name>`, which are removed when it ends.

Beside each lies `<name>.lock`, which its process holds. The next process that needs a folder removes those of killed
ones.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from storage.reading import default_cache_folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields an empty folder for this process only, and removes it at the end in any case.

    Raises:
        OSError: the cache cannot be written.
    """
    root = Path(default_cache_folder()).expanduser() / "scratch"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale(root)
        folder, lock = _make(root)
    except OSError as error:
        raise OSError(
            f"what goes to an object store is made in a local folder first, got {error} for {root}; free some space, "
            "or set ADVKD_CACHE"
        ) from error
    with lock:
        try:
            yield folder
        finally:
            _remove(folder)


def _make(root: Path) -> tuple[Path, IO[str]]:
    while True:
        folder = root / secrets.token_hex(8)
        if lock := _lock(folder):
            folder.mkdir()
            return folder, lock


def _lock(folder: Path) -> IO[str] | None:
    """Takes the lock of a folder; returns None if another process holds it or has just removed it."""
    path = folder.with_suffix(".lock")
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    lock.close()
    return None


def _remove_stale(root: Path) -> None:
    for path in root.glob("*.lock"):
        if lock := _lock(path.with_suffix("")):
            with lock:
                _remove(path.with_suffix(""))


def _remove(folder: Path) -> None:
    """Removes a folder, and last its lock, which the caller holds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)
