"""Folders that tests only read or copy, made once per run, although several processes run tests."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(places: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder below the run's own, which the first process that asks fills by `make` while others wait.

    One that was left unfinished is made anew.
    """
    several = "PYTEST_XDIST_WORKER" in os.environ
    shared = places.getbasetemp().parent if several else places.getbasetemp()
    folder, made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder
