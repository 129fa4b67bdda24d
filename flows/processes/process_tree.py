"""Finds the descendants of a process, or the processes with a mark, and ends them."""

import contextlib
import os
import signal
import time
from pathlib import Path

_POLL_SECONDS = 0.1


def descendants(pid: int) -> set[int]:
    """Returns the children of a process, their children, and so on; empty without /proc."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while its line is read.
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    tree: set[int] = set()
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += [child for child in below if child not in tree]
        tree.update(below)
    return tree


def marked_processes(variable: str) -> set[int]:
    """Returns the processes whose environment holds this `NAME=value`, which children inherit; empty without /proc."""
    mark, marked = variable.encode(), set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        # Other users' environments are not readable, and processes may end meanwhile.
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                marked.add(int(environment.parent.name))
    return marked


def end(pids: set[int], patience: float) -> None:
    """Ends processes by SIGTERM, and after `patience` seconds by SIGKILL."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 0.0)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while any(map(_is_there, pids)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
