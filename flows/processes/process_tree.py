"""Finds the descendants of a process, or the processes with a mark, and ends them."""

import time
from contextlib import suppress

import psutil

_POLL_SECONDS = 0.1


def descendants(pid: int) -> set[int]:
    """Returns the children of a process, their children, and so on; empty if it is gone."""
    with suppress(psutil.NoSuchProcess):
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return set()


def marked_processes(variable: str) -> set[int]:
    """Returns the processes whose environment holds this `NAME=value`, which children inherit."""
    name, _, value = variable.partition("=")
    marked = set()
    for process in psutil.process_iter():
        # Other users' environments are not readable, and processes may end meanwhile.
        with suppress(psutil.Error, OSError):
            if process.environ().get(name) == value:
                marked.add(process.pid)
    return marked


def end(pids: set[int], patience: float) -> None:
    """Ends processes by SIGTERM, and after `patience` seconds by SIGKILL."""
    left = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    for stop, seconds in ((psutil.Process.terminate, patience), (psutil.Process.kill, 0.0)):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                stop(process)
        # `psutil.wait_procs` would take the exit codes of children from those who started them.
        deadline = time.monotonic() + seconds
        while any(map(_is_alive, left)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    """Returns whether it runs: a zombie has ended, and its parent may never wait for it."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
