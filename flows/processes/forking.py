"""What a forked child does before it runs a module as `python -m` would: it lets go of all that is its parent's.

A fork is safe only while a process has a single thread of Python and has computed nothing: locks of other threads,
OpenMP's pool, CUDA and connections to S3 do not survive it. OpenBLAS, whose threads begin with numpy, ends them for a
fork by itself; ONNX Runtime, whose thread begins with its import, is imported where it is used.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advkd.runtime import die_with_parent

_PR_SET_NAME = 15
_NAME_BYTES = 15


@dataclass(frozen=True)
class Order:
    """What a forked child is to run: `python -m module arguments...`, in a folder and an environment."""

    module: str
    folder: str
    environment: Mapping[str, str]
    arguments: Sequence[str] = field(default=())


def can_fork() -> bool:
    """Returns whether a fork is safe here: on Linux, in a process of one thread."""
    return sys.platform.startswith("linux") and threading.active_count() == 1


def leave_parent(parent: int, out: int, err: int, kept: Collection[int] = ()) -> bool:
    """Makes a forked child a process of its own, which ends with its parent; returns False if that has ended already.

    Args:
        parent: process id of the parent.
        out: file that becomes stdout.
        err: file that becomes stderr.
        kept: further files that stay open. All others are the parent's. Their numbers stay taken, since objects may
            close them once more.
    """
    os.setsid()
    if (end_with_parent := die_with_parent()) is not None:
        end_with_parent()
    if os.getppid() != parent:
        return False
    for number, handler in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        signal.signal(number, handler)
    os.dup2(out, 1)
    os.dup2(err, 2)
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        if number not in {0, 1, 2, nothing, *kept}:
            os.dup2(nothing, number, inheritable=False)
    return True


def become(order: Order) -> None:
    """Takes the folder, environment, output and name of an order. `runpy` does the rest."""
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    _own_output()
    name_process(" ".join((order.module, *order.arguments[:1])))
    if os.environ.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    sys.argv = [order.module, *order.arguments]


def name_process(name: str) -> None:
    """Names the process for `top` and `/proc/PID/comm`; its command line stays that of its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES])


def _own_output() -> None:
    """Makes stdout, stderr and the loggers those of a new interpreter: without a handler of Prefect's."""
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    logging.root.setLevel(logging.WARNING)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
