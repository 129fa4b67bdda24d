"""Real writer processes that are killed with SIGKILL: forked ones, which cost milliseconds, and the CLI's own.

`ForkedWriters` is a fork of the process that has imported everything; it builds the teacher, has a single thread and
forks every writer. `CommandWriters` runs `python -m advkd precompute`. Both play a round: all writers start at once, in
the environment of whoever asks for it, and each meets its fate. A forked one may also kill itself at an exact instant.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from advkd.trajectories import PrecomputeSpec, cached_teacher, precompute, trajectory_spec
from storage import list_prefix
from storage.records.provenance import code_revision
from tests.advkd.trajectories.forked import ENVIRONMENT, Forker, assert_one_thread
from tests.advkd.trajectories.kill_instants import Moment, die_at

HUNG_SECONDS = 400.0
"""A writer that nobody meant to kill is killed after that long, and the round says so by its exit code."""

_FORKED_POLL_SECONDS, _COMMAND_POLL_SECONDS = 0.001, 0.01
# No checkout: a commit that someone makes meanwhile would change the revision in the records.
_NO_CHECKOUT = {"GIT_DIR": os.devnull}


@dataclass(frozen=True, kw_only=True)
class Fate:
    """How a writer is to die; without any of these it lives."""

    after_seconds: float | None = None
    """Killed so long after its start."""
    after_objects: int | None = None
    """Killed as soon as so many objects have come to its store since its start."""
    at: int | Moment | None = None
    """The instant at which it kills itself, or its number, counted from 1 (forked writers only)."""


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

    def round(self, spec: PrecomputeSpec, fates: Sequence[Fate]) -> list[Ending]:
        """Starts a writer of the spec's store per fate, all at once, and returns when all have ended."""


class CommandWriters:
    """Writers that are what a user types."""

    def round(self, spec: PrecomputeSpec, fates: Sequence[Fate]) -> list[Ending]:
        """See `Writers.round`."""
        assert all(fate.at is None for fate in fates), "a command does not kill itself"
        command = [sys.executable, "-m", "advkd", "precompute", *_options(spec)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started: list[subprocess.Popen[bytes]] = []
        try:
            for _ in fates:
                started.append(subprocess.Popen(command, env=os.environ | ENVIRONMENT | _NO_CHECKOUT, **quiet))
            polls, kills = [one.poll for one in started], [one.kill for one in started]
            return _follow(spec, fates, polls, kills, _COMMAND_POLL_SECONDS)
        finally:
            for process in started:
                process.kill()
                process.wait()


class ForkedWriters:
    """Writers forked by a process that has everything ready."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def round(self, spec: PrecomputeSpec, fates: Sequence[Fate]) -> list[Ending]:
        """See `Writers.round`."""
        self._connection.send((spec, fates, dict(os.environ)))
        endings: list[Ending] = self._connection.recv()
        return endings


@contextlib.contextmanager
def forked_writers(fork: Forker) -> Iterator[ForkedWriters]:
    """Ends the process that forks them, and all of its writers, with the block."""
    with fork.serving(_serve, _NO_CHECKOUT) as connection:
        yield ForkedWriters(connection)


def _serve(connection: Connection) -> None:
    # All that a writer would import, fit or look up in its first moments.
    trajectory_spec(PrecomputeSpec(teacher="mixture"), cached_teacher("mixture", "cpu"))
    code_revision()
    connection.send("ready")
    while True:
        connection.send(_forked_round(*connection.recv()))


def _forked_round(spec: PrecomputeSpec, fates: Sequence[Fate], environment: Mapping[str, str]) -> list[Ending]:
    assert_one_thread()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(spec, fate, environment)) for fate in fates]
    for process in processes:
        process.start()
    polls = [lambda process=process: process.exitcode for process in processes]
    endings = _follow(spec, fates, polls, [process.kill for process in processes], _FORKED_POLL_SECONDS)
    for process in processes:
        process.close()
    return endings


def _write(spec: PrecomputeSpec, fate: Fate, environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if fate.at is not None:
        die_at(fate.at)
    precompute(spec)


def _follow(
    spec: PrecomputeSpec,
    fates: Sequence[Fate],
    polls: Sequence[Callable[[], int | None]],
    kills: Sequence[Callable[[], None]],
    pause_seconds: float,
) -> list[Ending]:
    began = time.monotonic()
    endings: dict[int, Ending] = {}
    waiting = {i: _due(spec, fate) for i, fate in enumerate(fates)}
    while len(endings) < len(fates):
        now = time.monotonic() - began
        for i, poll in enumerate(polls):
            if i not in endings and (code := poll()) is not None:
                endings[i] = Ending(code, now)
        for i in [i for i, due in waiting.items() if i not in endings and due(now)]:
            del waiting[i]
            kills[i]()
        time.sleep(pause_seconds)
    return [endings[i] for i in range(len(fates))]


def _due(spec: PrecomputeSpec, fate: Fate) -> Callable[[float], bool]:
    """Whether the time for a writer's kill has come, so many seconds after its start."""
    seconds = HUNG_SECONDS if fate.after_seconds is None else fate.after_seconds
    wanted = fate.after_objects
    if wanted is None:
        return lambda now: now >= seconds
    before = len(list_prefix(spec.store))
    return lambda now: now >= seconds or len(list_prefix(spec.store)) - before >= wanted


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
