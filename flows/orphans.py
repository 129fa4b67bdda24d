"""A closed terminal or a polite kill of ours leaves nothing behind; `advkd.orphans` sees to the other ends."""

import signal
from types import FrameType


def interrupt_on_hangup() -> None:
    """A closed terminal and a polite kill end this process as Ctrl-C does: everything it started ends first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
