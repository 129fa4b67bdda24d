"""Local folders that are written all or nothing."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Creates a run's folder, keeps other processes of this machine out of it, and removes leftovers of killed ones.

    So an unusable folder is reported before anything is computed, and not only at the first checkpoint.

    Raises:
        OSError: the folder cannot be created or written to, or another run is using it.
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
    """Yields a temporary folder beside `final`, which is renamed to `final`, and replaces it, if nothing fails.

    Its files get the mode of the user's umask, whatever wrote them: safetensors lets the owner alone read.

    Raises:
        OSError: the folder cannot be written; the temporary one is removed.
    """
    partial = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        _make_readable(partial)
        if final.exists():
            remove_folder(final)
        partial.rename(final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(
            f"{what} must be written whole, got {error} for {final}, and nothing of it is kept; free some space or "
            "check the folder's permissions, and run the same again to go on from what is there"
        ) from error
    except BaseException:
        # What the block itself refused.
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _make_readable(folder: Path) -> None:
    # The folder itself has just been made under the umask.
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o777
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(mode if path.is_dir() else mode & 0o666)


def remove_folder(folder: Path) -> None:
    """Removes a folder all or nothing: if the process is killed meanwhile, a hidden folder is left."""
    hidden = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    folder.rename(hidden)
    shutil.rmtree(hidden)
