"""The instants of a writer: a process that kills itself with SIGKILL between, or within, two system calls.

Only what another process can see counts: changes of the disk, and what is sent over a network. The functions of `os`
and `socket` are replaced in this process, which is about to die.
"""

import contextlib
import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """An instant with a name; the writer then publishes one shard at a time, so that it leaves one known state."""

    when: str
    """"within" a write (a half of the bytes is on the disk), or "before" or "after" a name is given to them."""
    paths: tuple[str, ...]
    """Parts of a path; the first write whose path has one of them."""


def die_at(instant: int | Moment) -> None:
    """Makes this process kill itself at a moment, or at the instant of a number, counted from 1 over all threads."""
    if isinstance(instant, int):
        _at_number(instant)
    else:
        _at_moment(instant)


def _at_number(number: int) -> None:
    numbers = itertools.count(1)

    def may_die(when: str, path: str) -> None:
        # `next` is atomic: the threads of a writer count together.
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _divide_disk_writes(may_die, starting=lambda: None)
    _divide_sending(may_die)


def _at_moment(moment: Moment) -> None:
    publishing, this_thread = threading.Lock(), threading.local()

    def starting() -> None:
        if not getattr(this_thread, "publishes", False):
            publishing.acquire()
            this_thread.publishes = True

    def may_die(when: str, path: str) -> None:
        if when == moment.when and any(part in path for part in moment.paths):
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "after" and "/commits/" in path:
            this_thread.publishes = False
            publishing.release()

    _divide_disk_writes(may_die, starting)


def _divide_disk_writes(may_die: Callable[[str, str], None], starting: Callable[[], None]) -> None:
    """Makes instants of this process: a SIGKILL there is a real one between, or within, two system calls.

    Every new folder and new file, the middle of every write, and both sides of every rename are instants: between two
    of them nothing changes that another process can see. `starting` is called before a write makes its first folder.
    """
    make, create, write, replace = os.mkdir, os.open, os.write, os.replace
    paths: dict[int, str] = {}

    def made(path: Any, *rest: Any, **named: Any) -> None:
        starting()
        make(path, *rest, **named)
        may_die("folder", str(path))

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        descriptor = create(path, flags, *rest, **named)
        paths[descriptor] = str(path)
        if flags & os.O_CREAT:
            may_die("created", str(path))
        return descriptor

    def written(descriptor: int, data: Any) -> int:
        half = write(descriptor, memoryview(data)[: len(data) // 2])
        may_die("within", paths.get(descriptor, ""))
        return half + write(descriptor, memoryview(data)[half:])

    def replaced(source: Any, target: Any, **named: Any) -> None:
        may_die("before", str(target))
        replace(source, target, **named)
        may_die("after", str(target))

    for name, function in {"mkdir": made, "open": opened, "write": written, "replace": replaced}.items():
        setattr(os, name, function)


def _divide_sending(may_die: Callable[[str, str], None]) -> None:
    """The same for all that is sent over a network: the middle and the end of everything handed to the kernel."""
    send = socket.socket.send

    def sent(self: socket.socket, data: Any, *flags: int) -> int:
        if self.family == socket.AF_UNIX:
            return send(self, data, *flags)
        half = send(self, memoryview(data)[: (len(data) + 1) // 2], *flags)
        may_die("within", "")
        with contextlib.suppress(BlockingIOError):
            half += send(self, memoryview(data)[half:], *flags)
        may_die("after", "")
        return half

    setattr(socket.socket, "send", sent)  # noqa: B010 (mypy refuses to assign to a method)
