"""Ends all child processes on Ctrl-C, SIGTERM or a closed terminal; `advkd.runtime.orphans` covers other deaths."""

import os
import signal
import time
from types import FrameType

from flows.processes.process_tree import descendants, end

_ONE_SECONDS = 0.5
_INTERRUPTED = 130

_asked: float | None = None
"""Time of the first request to end this process."""


def interrupt_on_hangup() -> None:
    """Makes SIGTERM and a closed terminal end this process as Ctrl-C does: everything that it started ends first.

    A second request kills this process and its descendants at once.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # A shell's background job ignores Ctrl-C; leave that so.
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    now = time.monotonic()
    if _asked is None:
        _asked = now
        raise KeyboardInterrupt
    # A closing terminal signals its whole group, and `make` passes the signal on: count both as one request.
    if now - _asked > _ONE_SECONDS:
        end(descendants(os.getpid()), 0.0)
        os._exit(_INTERRUPTED)
