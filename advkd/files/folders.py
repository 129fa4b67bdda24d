"""Local folders that appear whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Creates a run's folder and keeps other processes of this machine out of it; what killed ones left is removed.

    Said before anything is computed, instead of at the first checkpoint.

    Raises:
        OSError: it cannot be made or written to, or another run is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise OSError(
            f"a run needs a folder that can be written to, got {error} for {folder}; choose another one"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"a run's folder belongs to one process at a time, got another at work in {folder}; wait for it, or "
                "choose another folder"
            ) from error
        for stale in (*folder.glob(".*.[0-9]*"), *folder.glob("checkpoints/.*.[0-9]*")):
            shutil.rmtree(stale, ignore_errors=True)
        yield


@contextmanager
def whole_folder(final: Path, what: str) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its place (and that of an older one) if nothing fails.

    Raises:
        OSError: it cannot be written; what was begun is removed.
    """
    partial = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        if final.exists():
            remove_folder(final)
        partial.rename(final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(
            f"{what} must be written whole, got {error} for {final}, and nothing of it is kept; free some space or "
            "check the folder's permissions, and run the same again to go on from what is there"
        ) from error


def remove_folder(folder: Path) -> None:
    """Removes a folder, which is never seen in part: a process killed meanwhile leaves a hidden rest."""
    hidden = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    folder.rename(hidden)
    shutil.rmtree(hidden)
