"""Which code wrote a record, and on whose behalf. No credentials and no paths."""

import getpass
import os
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

AUTHOR_VARIABLE = "ADVKD_AUTHOR"
"""Overrides `user@host` in the records; an empty value leaves it out."""


@cache
def writer_version() -> str:
    """Name and version of this package."""
    try:
        return f"advkd {version('advkd')}"
    except PackageNotFoundError:
        return "advkd (not installed)"


@cache
def code_revision() -> str:
    """The git commit of this package's checkout ("-dirty" where it was changed), else its version."""
    here = Path(__file__).parent
    try:
        described = _git(here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")
        tracked = _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
    except OSError:
        # A machine without git has a released package.
        return writer_version()
    if described.returncode == 0 and tracked.returncode == 0:
        return described.stdout.strip()
    return writer_version()


def author() -> str:
    """Who runs this: `user@host`, or what `ADVKD_AUTHOR` says."""
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
