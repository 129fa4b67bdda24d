"""A closed terminal or a polite kill of ours leaves nothing behind; `advkd.runtime.orphans` sees to the other ends."""

import os
import signal
import time
from types import FrameType

from flows.processes.process_tree import descendants, end

_ONE_SECONDS = 0.5
_INTERRUPTED = 130

_asked: float | None = None
"""When this process was asked to end."""


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
