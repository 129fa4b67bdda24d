"""No process is left behind: children of ours end with their parent, however it ends."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before it starts (`preexec_fn`), or as it starts: SIGTERM when its parent is gone.

    The kernel watches the thread that started the child, so that thread has to wait for it. None off Linux.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, not in the child: nothing but one system call may happen between fork and exec.
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
