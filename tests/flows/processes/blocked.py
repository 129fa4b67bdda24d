"""A flow that blocks outside of Python, as torch, a driver or a file system may: a process to be ended by others."""

import ctypes
import signal
import sys

from prefect import flow

from flows.processes.supervision import own_this_process, supervise


@flow(name="blocked", persist_result=False, timeout_seconds=float(sys.argv[1]), on_running=[supervise])
def blocked() -> None:
    # Without the interpreter's lock, and deaf to the alarm by which Prefect ends a flow in a main thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    libc = ctypes.CDLL(None)
    left = 300
    while left:
        left = libc.sleep(left)


if __name__ == "__main__":
    own_this_process()
    blocked()
