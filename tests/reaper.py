"""Nothing that a test starts outlives the test process, however that ends.

A test process marks its environment, which everything that it starts inherits: servers, workers, their flow runs,
terminals, browsers, and what those start. A reaper, which is nobody's child, waits for the end of the test process and
kills whatever carries the mark. Children that are forked have the environment of before: the kernel ends those.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "ADVKD_TEST_PROCESS"
_QUIET_SECONDS = 1.0
"""For so long nothing marked must be there: a process may be starting another while it is killed."""
_PATIENCE_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
_LINUX = sys.platform.startswith("linux")
# Loaded here, not in a child: nothing but one system call may happen between fork and exec.
_PRCTL = ctypes.CDLL(None).prctl if _LINUX else None


def watch_this_process() -> None:
    """Marks this process's environment and starts its reaper; off Linux it does nothing."""
    if not _LINUX:
        return
    os.environ[MARK] = uuid.uuid4().hex
    os.register_at_fork(after_in_child=die_with_parent)
    subprocess.run(
        [sys.executable, "-m", "tests.reaper", str(os.getpid()), f"{MARK}={os.environ[MARK]}"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )


def die_with_parent() -> None:
    """What a child runs before it starts (`preexec_fn`), so that it never outlives its parent."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def marked_processes(mark: str) -> set[int]:
    """Processes other than this one that were started with `NAME=value` in their environment."""
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        # Others' are not ours to read, and processes end meanwhile.
        with contextlib.suppress(OSError):
            if mark.encode() in environment.read_bytes().split(b"\0"):
                found.add(int(environment.parent.name))
    return found - {os.getpid()}


def _reap(parent: int, mark: str) -> None:
    watched = os.pidfd_open(parent)
    if os.fork():
        # The test process waits until its end is being watched, and has one child fewer.
        os._exit(0)
    for stream in (1, 2):
        os.dup2(0, stream)
    select.select([watched], [], [])
    began = quiet_since = time.monotonic()
    while (now := time.monotonic()) - quiet_since < _QUIET_SECONDS and now - began < _PATIENCE_SECONDS:
        for pid in marked_processes(mark):
            quiet_since = now
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    _reap(int(sys.argv[1]), sys.argv[2])
