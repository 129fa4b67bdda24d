"""The folder of this machine's caches: a user's own, because what is kept in it is believed when it is read again."""

import os
import stat
from pathlib import Path

from storage.errors import StorePermissionError
from storage.objects import user_name


def default_cache_folder() -> str:
    """Returns `$ADVKD_CACHE`, else `advkd` in `$XDG_CACHE_HOME`, else `~/.cache/advkd`.

    Where that folder belongs to another user, as a disk for all users of a machine does, it is this user's own folder
    below it, `user-<uid>`: users neither lock each other out nor read what others have written.

    Raises:
        StorePermissionError: the folder belongs to another user, or every user may write to it.
    """
    chosen = os.environ.get("ADVKD_CACHE")
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "advkd").expanduser()
    status = _status(folder)
    if status is not None and status.st_uid != os.geteuid():
        folder = folder / f"user-{os.geteuid()}"
        status = _status(folder)
    if status is not None:
        _require_own(folder, status)
    return str(folder)


def _status(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:
        # What is not there is made, or refused, by whoever writes first.
        return None


def _require_own(folder: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise StorePermissionError(
            f"a cache must belong to the user whose programs believe it, got {folder} of {user_name(status.st_uid)}; "
            "set ADVKD_CACHE to a folder of your own"
        )
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise StorePermissionError(
            f"a cache must not be writable by every user, got {folder} with mode {stat.S_IMODE(status.st_mode):04o}; "
            f"run `chmod o-w {folder}`, or set ADVKD_CACHE to a folder of your own"
        )
