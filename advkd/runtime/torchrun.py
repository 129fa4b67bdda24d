"""Which of `torchrun`'s processes this one is, as the environment tells, and which of them speaks.

Knows no torch, so that a command may ask before it imports anything.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class SilencedError(RuntimeError):
    """What went wrong has been said by another process of the run: this one ends without a word."""


def started_by_torchrun() -> bool:
    """Whether this process is one of several that `torchrun` has started."""
    return all(name in os.environ for name in _NAMES)


def speaks() -> bool:
    """Whether this process is the one that shows progress and tells results."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def local_rank() -> int:
    """Number of this process on its machine."""
    return int(os.environ["LOCAL_RANK"])


def local_count() -> int:
    """Processes of the run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


@contextmanager
def alike_on_this_machine() -> Iterator[None]:
    """For what fails in all of a machine's processes if in one, before they can talk: the first of them says it.

    Raises:
        SilencedError: in the others, instead of the error.
    """
    try:
        yield
    except Exception as error:
        if not started_by_torchrun() or local_rank() == 0:
            raise
        raise SilencedError("the first process of this machine says what is wrong") from error
