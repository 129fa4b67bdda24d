"""A child that is forked before it is needed, and runs one of our modules without importing everything once more.

A fork is safe only while a process has a single thread of Python and has computed nothing: locks of other threads,
OpenMP's pool, CUDA and connections to S3 do not survive it. OpenBLAS, whose threads begin with numpy, ends them for a
fork by itself; ONNX Runtime, whose thread begins with its import, is imported where it is used.

So a flow's process sets its spare child aside when its modules are imported and nothing has begun (`flows.deployed`,
`python -m flows.distill`). Until it is needed the child waits for its order at the end of a pipe, shares its parent's
memory, and ends with its parent.
"""

import atexit
import ctypes
import json
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from advkd.runtime import die_with_parent

_PR_SET_NAME = 15
_NAME_BYTES = 15

_spare: "Spare | None" = None


def set_aside() -> bool:
    """Forks the spare child of this process, unless that is unsafe here; returns whether there is one.

    It is unsafe beside other threads, and off Linux; then `take_spare` returns None, and a child is a new interpreter.
    """
    global _spare
    if _spare is None and sys.platform.startswith("linux") and threading.active_count() == 1:
        _spare = Spare()
    return _spare is not None


def take_spare() -> "Spare | None":
    """Returns the spare child if this process has one and it is alive; only the first caller gets it."""
    global _spare
    taken, _spare = _spare, None
    return taken if taken is not None and taken.is_waiting() else None


class Spare:
    """The child, with those members of `subprocess.Popen` by which a child is followed and ended."""

    def __init__(self) -> None:
        self._parent = os.getpid()
        orders, self._orders = os.pipe()
        out, said = os.pipe()
        err, complained = os.pipe()
        ends = (orders, said, complained)
        self._process = multiprocessing.get_context("fork").Process(
            target=_wait, args=(*ends, self._parent), name="set aside"
        )
        self._process.start()
        for end in ends:
            os.close(end)
        self.stdout: IO[str] = os.fdopen(out, errors="replace")
        self.stderr: IO[str] = os.fdopen(err, errors="replace")
        # Before multiprocessing waits for its children at the exit: a child without an order then ends.
        atexit.register(self._close)

    @property
    def pid(self) -> int:
        """Id of the process, which leads a group of its own."""
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        """Exit code, the negative number of a signal, or None while it runs."""
        return self._process.exitcode

    def is_waiting(self) -> bool:
        """Returns whether it is alive, and the child of this process rather than of one that was forked into this."""
        return os.getpid() == self._parent and self.poll() is None

    def run(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Has the child do what `python -m module arguments...` does in the current folder, and end."""
        order = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
        # A child that was killed meanwhile says so by its exit code.
        with suppress(BrokenPipeError), os.fdopen(self._orders, "wb") as orders:
            self._orders = -1
            orders.write(json.dumps(order | {"folder": str(Path.cwd())}).encode())

    def poll(self) -> int | None:
        """Returns `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end and returns the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired("set aside", timeout or 0.0)
        return code

    def __enter__(self) -> "Spare":
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the pipes and waits for the end, as `Popen` does."""
        self.stdout.close()
        self.stderr.close()
        self._close()
        self.wait()

    def _close(self) -> None:
        atexit.unregister(self._close)
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1


def _wait(orders: int, said: int, complained: int, parent: int) -> None:
    """Waits for an order in the child, and carries it out."""
    os.setsid()
    if (end_with_parent := die_with_parent()) is not None:
        end_with_parent()
    if os.getppid() != parent:
        return
    for number, handler in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        signal.signal(number, handler)
    _own_files(orders, said, complained)
    _name_process("advkd spare")
    with os.fdopen(orders, "rb") as pipe:
        text = pipe.read()
    if not text:
        return
    order = json.loads(text)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    _own_output()
    _name_process(" ".join((order["module"], *order["arguments"][:1])))
    if os.environ.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _name_process(name: str) -> None:
    """Names the process for `top` and `/proc/PID/comm`; its command line stays that of its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES])


def _own_files(orders: int, said: int, complained: int) -> None:
    """Lets go of the parent's files and connections, but keeps their numbers: objects may close them once more."""
    os.dup2(said, 1)
    os.dup2(complained, 2)
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        if number not in {0, 1, 2, orders, nothing}:
            os.dup2(nothing, number, inheritable=False)


def _own_output() -> None:
    """Makes stdout, stderr and the loggers those of a new interpreter: without a handler of Prefect's."""
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    logging.root.setLevel(logging.WARNING)
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
