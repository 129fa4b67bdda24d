"""Ends child processes with their parent, however the parent ends, so that none is left behind."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """Returns a function that asks the kernel to send this process SIGTERM when its parent is gone; None off Linux.

    A child calls it before it starts (`preexec_fn`) or as it starts. The kernel watches the thread that started the
    child, so that thread must wait for it.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Load it here, not in the child: only a single system call is safe between fork and exec.
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
