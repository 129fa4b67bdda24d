"""Reads from the environment which of `torchrun`'s processes this one is, and whether it reports to the user.

Imports no torch, so that a command can ask before it imports anything heavy.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class SilencedError(RuntimeError):
    """Another process of the run reports the error; this one ends silently."""


def started_by_torchrun() -> bool:
    """Returns whether `torchrun` started this process."""
    return all(name in os.environ for name in _NAMES)


def speaks() -> bool:
    """Returns whether this process shows progress and results: rank 0, or the only process."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def local_rank() -> int:
    """Returns the rank of this process on its machine."""
    return int(os.environ["LOCAL_RANK"])


def local_count() -> int:
    """Returns the number of the run's processes on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


@contextmanager
def alike_on_this_machine() -> Iterator[None]:
    """Lets only the first process of a machine raise an error that all of them meet before they can communicate.

    Raises:
        SilencedError: in the other processes, instead of the error.
    """
    try:
        yield
    except Exception as error:
        if not started_by_torchrun() or local_rank() == 0:
            raise
        raise SilencedError("the first process of this machine says what is wrong") from error
