"""A child that is forked before it is needed, and runs one of our modules without importing everything once more.

A flow's process sets its spare child aside when its modules are imported and nothing has begun (`flows.deployed`,
`python -m flows.distill`). Until it is needed the child waits for its order at the end of a pipe, shares its parent's
memory, and ends with its parent.
"""

import atexit
import json
import multiprocessing
import os
import runpy
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from flows.processes.forking import Order, become, can_fork, leave_parent, name_process

_spare: "Spare | None" = None


def set_aside() -> bool:
    """Forks the spare child of this process, unless that is unsafe here; returns whether there is one.

    It is unsafe beside other threads, and off Linux; then `take_spare` returns None, and a child is a new interpreter.
    """
    global _spare
    if _spare is None and can_fork():
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
        order = Order(module, str(Path.cwd()), dict(environment), list(arguments))
        # A child that was killed meanwhile says so by its exit code.
        with suppress(BrokenPipeError), os.fdopen(self._orders, "wb") as orders:
            self._orders = -1
            orders.write(json.dumps(asdict(order)).encode())

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
    if not leave_parent(parent, said, complained, kept={orders}):
        return
    name_process("advkd spare")
    with os.fdopen(orders, "rb") as pipe:
        text = pipe.read()
    if not text:
        return
    order = Order(**json.loads(text))
    become(order)
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)
