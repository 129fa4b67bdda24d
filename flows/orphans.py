"""No process is left behind: children of ours end with their parent, however it ends."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from flows.descendants import descendants, end

_PR_SET_PDEATHSIG = 1
_ONE_SECONDS = 0.5
_INTERRUPTED = 130

_asked: float | None = None
"""When this process was asked to end."""


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before it starts (`preexec_fn`), so that SIGTERM reaches it when its parent is gone.

    The kernel watches the thread that started the child, so that thread has to wait for it. None off Linux.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, not in the child: nothing but one system call may happen between fork and exec.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def interrupt_on_hangup() -> None:
    """A closed terminal and a polite kill end this process as Ctrl-C does: everything it started ends first.

    Whoever asks twice does not want to wait: then this process and all below it are killed.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # In a shell's background Ctrl-C is ignored, and stays so.
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    now = time.monotonic()
    if _asked is None:
        _asked = now
        raise KeyboardInterrupt
    # A terminal that closes tells its whole group, and `make` passes on what it was told: that is one and the same.
    if now - _asked > _ONE_SECONDS:
        end(descendants(os.getpid()), 0.0)
        os._exit(_INTERRUPTED)
