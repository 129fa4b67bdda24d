"""Real processes that cost milliseconds: forked by one that has imported everything and has a single thread.

A job is a function of a module and its arguments. Jobs of a group run at once; with the first that fails the others
get a SIGTERM, as `torchrun` does it.
"""

import contextlib
import gc
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from advkd.evaluation import cost
from tests.unprivileged import respect_permissions

HUNG_SECONDS = 400.0
"""A process that nobody meant to kill is killed after that long, and its exit code tells."""

_MODULES = (
    "advkd.cli",
    "advkd.cli.students",
    "advkd.evaluation.evaluation",
    "advkd.training.loop",
    "advkd.training.methods.layerwise",
    "advkd.training.methods.spec_json",
    "diffusers.pipelines.pipeline_utils",
)
_OURS = {"advkd", "storage", "flows", "prefect", "tests"}
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # pyarrow, which scikit-learn imports where pandas is installed, would start a thread for its memory.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


@dataclass(frozen=True)
class Job:
    """A call in a process of its own."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    kill_after: float | None = None
    """Seconds after its start."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    """-SIGKILL for a killed one."""
    out: str
    err: str
    seconds: float


class Forker:
    """Asks the forking process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked = 0

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._asked += 1
        self._connection.send((self._asked, function, arguments))
        # A test that timed out has left without its answer.
        while (answer := self._connection.recv())[0] != self._asked:
            pass
        return answer[1]

    def group(self, *jobs: Job) -> list[Ended]:
        """Runs jobs at once, until all have ended."""
        found: list[Ended] = self._ask(_group, jobs)
        return found

    @contextlib.contextmanager
    def serving(self, serve: Callable[[Connection], None], variables: Mapping[str, str]) -> Iterator[Connection]:
        """A process that is forked to serve one connection, with more variables; it ends with the block."""
        with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/socket", "AF_UNIX") as listener:
            self._ask(_fork_to_serve, listener.address, serve, variables)
            with listener.accept() as connection:
                assert connection.recv() == "ready"
                yield connection

    def application(self, code: str, *arguments: object, folder: Path) -> Ended:
        """Runs code as `application` does, in a folder."""
        (ended,) = self.group(Job(application, (code, str(folder), *map(str, arguments))))
        return ended

    def ranks(self, count: int, function: Callable[..., Any], *arguments: Any) -> list[Ended]:
        """One call in `count` processes, with the environment that `torchrun` gives them."""
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
        # As torchrun does, whose own process keeps the store that its processes meet in.
        shared |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        shared |= {"TORCHELASTIC_RESTART_COUNT": "0"}
        each = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        return self.group(*(Job(function, arguments, environment) for environment in each))


def command(*arguments: str) -> None:
    """`advkd ARGUMENTS`, through the real entry point."""
    from advkd.cli.main import main

    sys.argv = ["advkd", *arguments]
    main()


def command_with(site: str, *arguments: str) -> None:
    """The same where the package of a folder is installed too."""
    sys.path.insert(0, site)
    command(*arguments)


def command_with_small_files(most_bytes: int, *arguments: str) -> None:
    """The same where no file may be larger: a real limit, which stands for a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    command(*arguments)


def command_of_others(*arguments: str) -> None:
    """The same where root has to respect permissions."""
    respect_permissions()
    command(*arguments)


class _NotInstalled(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in _OURS:
            raise ModuleNotFoundError(f"{name} is not installed here")


def application(code: str, folder: str, *arguments: str) -> None:
    """Runs code in a folder as an application that has diffusers and nothing of ours; warnings are errors."""
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    sys.meta_path.insert(0, _NotInstalled())
    sys.argv = ["application", *arguments]
    warnings.simplefilter("error")
    exec(compile(code, "application", "exec"), {"__name__": "__main__"})


@contextlib.contextmanager
def forking(serve: Callable[[Connection], None], variables: Mapping[str, str]) -> Iterator[Connection]:
    """A process in a group of its own that runs `serve`; ended with the block, and with it all that it forked.

    `serve` says "ready" first; whoever started it is gone when the connection is.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_lead, args=(serve, theirs))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        process.start()
    theirs.close()
    try:
        assert ours.recv() == "ready"
        yield ours
    finally:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        process.close()


@contextlib.contextmanager
def forker() -> Iterator[Forker]:
    """Starts the forking process, and ends it and all that it forked with the block."""
    # diffusers keeps the code of the pipelines that it loads below HF_HOME.
    with (
        tempfile.TemporaryDirectory() as home,
        forking(_serve, ENVIRONMENT | {"HF_HOME": home, "HF_HUB_OFFLINE": "1"}) as connection,
    ):
        yield Forker(connection)


def _lead(serve: Callable[[Connection], None], connection: Connection) -> None:
    # What is imported stays; a fork that looks for garbage in it would copy it.
    gc.disable()
    os.setpgrp()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        serve(connection)


def _serve(connection: Connection) -> None:
    for name in _MODULES:
        importlib.import_module(name)
    # No test reads how long its samplers take.
    cost.MIN_REPEATS = cost.MAX_REPEATS = 1
    ready_to_fork()
    connection.send("ready")
    while True:
        number, function, arguments = connection.recv()
        connection.send((number, function(*arguments)))


def _fork_to_serve(address: str, serve: Callable[[Connection], None], variables: Mapping[str, str]) -> None:
    assert_one_thread()
    multiprocessing.get_context("fork").Process(target=_serve_at, args=(address, serve, variables)).start()


def _serve_at(address: str, serve: Callable[[Connection], None], variables: Mapping[str, str]) -> None:
    os.environ.update(variables)
    with contextlib.suppress(EOFError, ConnectionError), Client(address) as connection:
        serve(connection)


def ready_to_fork() -> None:
    """Forks look for garbage again, but not in what they have from this process."""
    gc.freeze()
    gc.enable()


def assert_one_thread() -> None:
    """Only a process of one thread may fork."""
    tasks = Path("/proc/self/task")
    assert not tasks.is_dir() or len(list(tasks.iterdir())) == 1


def _group(jobs: Sequence[Job]) -> list[Ended]:
    assert_one_thread()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder, f"{i}.out"), Path(folder, f"{i}.err")) for i in range(len(jobs))]
        processes = [context.Process(target=_call, args=(job, *said)) for job, said in zip(jobs, files, strict=True)]
        for said in (path for pair in files for path in pair):
            # A process may be killed before it opens them.
            said.touch()
        for process in processes:
            process.start()
        seconds = _follow(jobs, processes)
        found = [
            Ended(process.exitcode or 0, out.read_text(), err.read_text(), took)
            for process, (out, err), took in zip(processes, files, seconds, strict=True)
        ]
    for process in processes:
        process.close()
    return found


def _follow(jobs: Sequence[Job], processes: Sequence[Any]) -> list[float]:
    began = time.monotonic()
    ended: dict[int, float] = {}
    due = {i: HUNG_SECONDS if job.kill_after is None else job.kill_after for i, job in enumerate(jobs)}
    while len(ended) < len(jobs):
        now = time.monotonic() - began
        for i, process in enumerate(processes):
            if i in ended:
                continue
            if process.exitcode is not None:
                ended[i] = now
                if process.exitcode:
                    for other in processes:
                        other.terminate()
            elif now >= due[i]:
                process.kill()
        time.sleep(0.001)
    return [ended[i] for i in range(len(jobs))]


def _call(job: Job, out: Path, err: Path) -> None:
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(job.environment)
    job.function(*job.arguments)
    sys.stdout.flush()
    sys.stderr.flush()
