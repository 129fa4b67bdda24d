"""The instants of a run whose output is in S3: before, within and after every change that it makes there."""

import contextlib
import os
import signal
import time
from asyncio import selector_events
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storage.objects.s3 import S3Objects
from tests.advkd.trajectories.forked import command


def publish_and_die(number: int, *arguments: str) -> None:
    """`advkd ARGUMENTS` that kills itself with SIGKILL at the instant of a number, counted from 0."""
    _divide(number, [])
    command(*arguments)


def publish_and_list(listing: str, *arguments: str) -> None:
    """`advkd ARGUMENTS`, and the names of its instants in a file, one a line."""
    seen: list[str] = []
    _divide(-1, seen)
    with contextlib.suppress(SystemExit):
        command(*arguments)
    Path(listing).write_text("\n".join(seen))


def command_with(variables: Mapping[str, str], *arguments: str) -> None:
    """`advkd ARGUMENTS` with more in its environment."""
    os.environ.update(variables)
    command(*arguments)


def _divide(number: int, seen: list[str]) -> None:
    def due(name: str) -> bool:
        seen.append(name)
        return len(seen) == number + 1

    def reached(name: str) -> None:
        if due(name):
            os.kill(os.getpid(), signal.SIGKILL)

    dying: list[int] = []
    _cut_uploads(dying)
    write: Callable[..., None] = S3Objects.write
    delete: Callable[..., None] = S3Objects.delete

    def written(self: S3Objects, path: str, data: bytes) -> None:
        # The claim is renewed by a clock, not by what the run does.
        if path.endswith(".claim"):
            write(self, path, data)
            return
        reached(f"before write {path}")
        if due(f"half write {path}"):
            dying.append(len(data))
        write(self, path, data)
        reached(f"after write {path}")

    def deleted(self: S3Objects, path: str) -> None:
        delete(self, path)
        reached(f"after delete {path}")

    S3Objects.write = written  # type: ignore[method-assign]
    S3Objects.delete = deleted  # type: ignore[method-assign]


def _cut_uploads(dying: list[int]) -> None:
    """Has a process that is to die send half of what it is sending, and no more."""
    transport: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    send, send_lines = transport.write, transport.writelines

    def cut(self: Any, data: bytes) -> None:
        if dying and len(data) >= dying[0]:
            send(self, bytes(data[: len(data) // 2]))
            # The server has it before the connection goes.
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, data)

    def cut_lines(self: Any, lines: Any) -> None:
        joined = b"".join(lines)
        cut(self, joined) if dying else send_lines(self, [joined])

    transport.write, transport.writelines = cut, cut_lines
