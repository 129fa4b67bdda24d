"""No process is left behind: children of ours end with their parent, however it ends."""

import ctypes
import signal
import sys
from collections.abc import Callable
from types import FrameType

_PR_SET_PDEATHSIG = 1


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
    """A closed terminal and a polite kill end this process as Ctrl-C does: everything it started ends first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
