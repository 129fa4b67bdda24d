"""Real writer processes that are killed with SIGKILL: forked ones, which cost milliseconds, and the CLI's own.

`ForkedWriters` is one process that has imported everything, has built the teacher, has a single thread and forks every
writer; `CommandWriters` runs `python -m advkd precompute`. Both play a round: all writers start at once, each may be
killed after some seconds; a forked one may also kill itself at the n-th instant between two changes of the disk.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch

from advkd.precompute import PrecomputeSpec, cached_teacher, precompute, trajectory_spec

HUNG_SECONDS = 120.0
"""A writer that nobody meant to kill is killed after that long, and the round says so by its exit code."""

_POLL_SECONDS = 0.001
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True, kw_only=True)
class Writer:
    """One process that computes a store."""

    spec: PrecomputeSpec
    environment: Mapping[str, str]
    """Set beside that of the test: the AWS variables."""
    kill_after: float | None = None
    """Seconds after its start."""
    die_at: int | None = None
    """The instant at which it kills itself, counted from 1 (forked writers only)."""


@dataclass(frozen=True)
class Ending:
    """How a writer ended."""

    exit_code: int
    """0 for a sealed store, -SIGKILL for a killed writer."""
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether the kill hit a living process."""
        return self.exit_code == -signal.SIGKILL


class Writers(Protocol):
    """Plays rounds."""

    def round(self, writers: Sequence[Writer]) -> list[Ending]:
        """Starts all writers at once and returns when all have ended."""


class CommandWriters:
    """Writers that are what a user types."""

    def round(self, writers: Sequence[Writer]) -> list[Ending]:
        """See `Writers.round`."""
        started: list[subprocess.Popen[bytes]] = []
        try:
            for writer in writers:
                command = [sys.executable, "-m", "advkd", "precompute", *_options(writer.spec)]
                environment = os.environ | _ONE_THREAD | dict(writer.environment)
                quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                started.append(subprocess.Popen(command, env=environment, **quiet))
            return _follow([process.poll for process in started], [process.kill for process in started], writers)
        finally:
            for process in started:
                process.kill()
                process.wait()


class ForkedWriters:
    """Writers forked by a process that has everything ready."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def round(self, writers: Sequence[Writer]) -> list[Ending]:
        """See `Writers.round`."""
        self._connection.send(writers)
        endings: list[Ending] = self._connection.recv()
        return endings


@contextlib.contextmanager
def forked_writers() -> Iterator[ForkedWriters]:
    """Starts the forking process and ends it with the block; if this process dies, it ends by itself."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in _ONE_THREAD.items():
            environment.setenv(name, value)
        process.start()
    theirs.close()
    try:
        assert ours.recv() == "ready"
        yield ForkedWriters(ours)
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()
        process.close()


def _serve(connection: Connection) -> None:
    torch.set_num_threads(1)
    # All that a writer would import or fit in its first moments.
    trajectory_spec(PrecomputeSpec(teacher="mixture"), cached_teacher("mixture", "cpu"))
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            connection.send(_forked_round(connection.recv()))


def _forked_round(writers: Sequence[Writer]) -> list[Ending]:
    tasks = Path("/proc/self/task")
    assert not tasks.is_dir() or len(list(tasks.iterdir())) == 1, "only a process of one thread may fork"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(writer,)) for writer in writers]
    for process in processes:
        process.start()
    endings = _follow(
        [lambda process=process: process.exitcode for process in processes],
        [process.kill for process in processes],
        writers,
    )
    for process in processes:
        process.close()
    return endings


def _write(writer: Writer) -> None:
    os.environ.update(writer.environment)
    if writer.die_at is not None:
        _die_at(writer.die_at)
    precompute(writer.spec)


def _follow(
    polls: Sequence[Callable[[], int | None]], kills: Sequence[Callable[[], None]], writers: Sequence[Writer]
) -> list[Ending]:
    began = time.monotonic()
    endings: dict[int, Ending] = {}
    due = {i: HUNG_SECONDS if writer.kill_after is None else writer.kill_after for i, writer in enumerate(writers)}
    while len(endings) < len(writers):
        now = time.monotonic() - began
        for i, poll in enumerate(polls):
            if i not in endings and (code := poll()) is not None:
                endings[i] = Ending(code, now)
        for i in [i for i, seconds in due.items() if now >= seconds]:
            del due[i]
            if i not in endings:
                kills[i]()
        time.sleep(_POLL_SECONDS)
    return [endings[i] for i in range(len(writers))]


def _die_at(instant: int) -> None:
    """Makes this process kill itself at an instant: a real SIGKILL between, or within, two system calls.

    Every new folder and new file, the middle of every write, and both sides of every rename are instants: between two
    of them nothing changes that another process can see.
    """
    numbers = itertools.count(1)
    real = {name: getattr(os, name) for name in ("mkdir", "open", "write", "replace", "rename", "link")}

    def may_die() -> None:
        if next(numbers) == instant:
            os.kill(os.getpid(), signal.SIGKILL)

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        descriptor: int = real["open"](path, flags, *rest, **named)
        if flags & os.O_CREAT:
            may_die()
        return descriptor

    def written(descriptor: int, data: Any) -> int:
        half = real["write"](descriptor, memoryview(data)[: len(data) // 2])
        may_die()
        return half + int(real["write"](descriptor, memoryview(data)[half:]))

    def made(*arguments: Any, **named: Any) -> None:
        real["mkdir"](*arguments, **named)
        may_die()

    def moved(name: str) -> Callable[..., None]:
        def move(*arguments: Any, **named: Any) -> None:
            may_die()
            real[name](*arguments, **named)
            may_die()

        return move

    replaced = {"mkdir": made, "open": opened, "write": written}
    for name, function in (replaced | {name: moved(name) for name in ("replace", "rename", "link")}).items():
        setattr(os, name, function)


def _options(spec: PrecomputeSpec) -> list[str]:
    values = {
        "teacher": spec.teacher,
        "store": spec.store,
        "samples": spec.samples,
        "solver": spec.solver.kind,
        "steps": spec.solver.steps,
        "captures": spec.captures,
        "seed": spec.seed,
        "format": spec.format,
        "dtype": spec.dtype,
        "shard-samples": spec.shard_samples,
        "block-samples": spec.block_samples,
    }
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]
