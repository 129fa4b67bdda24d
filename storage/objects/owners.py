"""Whose a file is: what a user who may not read it needs to know."""

import pwd
from pathlib import Path


def user_name(uid: int) -> str:
    """Returns the name of a user, or `user <uid>` where this machine knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def whose(path: str | Path) -> str:
    """Returns which part of a path exists and whose it is, for a message: `/a/b belongs to ann, mode 0700`."""
    try:
        whole = Path(path).absolute()
    except FileNotFoundError:
        return "the working folder was removed"
    for part in (whole, *whole.parents):
        try:
            status = part.stat()
        except OSError:
            continue
        return f"{part} belongs to {user_name(status.st_uid)}, mode {status.st_mode & 0o7777:04o}"
    return f"nothing of {path} can be seen"
