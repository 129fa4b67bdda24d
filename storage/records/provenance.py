"""The code that wrote a record, and the author on whose behalf. Records hold no credentials and no paths."""

import getpass
import os
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

AUTHOR_VARIABLE = "ADVKD_AUTHOR"
"""Environment variable whose value replaces `user@host` in the records; an empty value leaves the author out."""


@cache
def writer_version() -> str:
    """Returns name and version of this package."""
    try:
        return f"advkd {version('advkd')}"
    except PackageNotFoundError:
        return "advkd (not installed)"


@cache
def code_revision() -> str:
    """Returns the git commit of this package's checkout ("-dirty" if it was changed), else its version."""
    here = Path(__file__).parent
    try:
        described = _git(here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
    except OSError:
        # On a machine without git, the package is a released one.
        return writer_version()
    if described.returncode == 0 and tracked.returncode == 0:
        return described.stdout.strip()
    return writer_version()


def author() -> str:
    """Returns who runs this process: `user@host`, or the value of `ADVKD_AUTHOR`."""
    told = os.environ.get(AUTHOR_VARIABLE)
    if told is not None:
        return told
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
