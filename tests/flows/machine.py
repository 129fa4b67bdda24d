"""A machine that runs our deployments: a real Prefect server, a real worker, on a free port, with a home of its own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.processes.server import own_server, stop
from tests.flows.deployed_home import CHECKOUT, clean_environment, copy_database, deploy_in
from tests.reaper import die_with_parent

__all__ = ["CHECKOUT", "OUR_WORKER", "Machine", "beside", "prefect_machine", "processes_below"]

OUR_WORKER = ("flows.worker",)
PREFECTS_WORKER = ("prefect", "worker", "start")


@dataclass(frozen=True)
class Machine:
    """How to talk to it: the environment of its clients."""

    environment: Mapping[str, str]
    worker_log: Path

    def prefect(self, *arguments: str, seconds: float = 240) -> "subprocess.CompletedProcess[str]":
        """Runs `prefect arguments...` as a user would."""
        return self.python("-m", "prefect", *arguments, seconds=seconds)

    def python(self, *arguments: str, seconds: float = 240, apart: bool = False) -> "subprocess.CompletedProcess[str]":
        """Runs `python arguments...` in the checkout, with stdout and stderr together unless they are wanted apart."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run_deployment(
        self, name: str, parameters: Sequence[str], seconds: float = 480
    ) -> "subprocess.CompletedProcess[str]":
        """`prefect deployment run NAME --param ... --watch`."""
        given = [word for parameter in parameters for word in ("--param", parameter)]
        return self.prefect("deployment", "run", name, *given, "--watch", "--watch-interval", "1", seconds=seconds)


@contextlib.contextmanager
def prefect_machine(
    folder: Path,
    more: Mapping[str, str],
    *,
    deployed: Path | None = None,
    ui: bool = False,
    worker: Sequence[str] = PREFECTS_WORKER,
) -> Iterator[Machine]:
    """Server, deployments and worker, until the block ends, however it ends.

    Args:
        folder: where they keep their files.
        more: what they have in their environment besides.
        deployed: a home with the deployments, whose server has ended (`deployed_home`); None deploys here.
        ui: serve Prefect's pages too.
        worker: what is behind `python -m`; OUR_WORKER forks its runs, which costs some seconds to prepare.
    """
    home = folder / "home"
    if deployed is None:
        deploy_in(home)
    else:
        copy_database(deployed, home)
    with own_server(home, *([] if ui else ["--no-ui"])) as ready:
        environment = clean_environment() | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": ready(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "COLUMNS": "200",
            **more,
        }
        machine = Machine(environment, folder / "worker.log")
        with _worker(machine, worker):
            yield machine


def processes_below(name: str, pid: int | None = None) -> list[psutil.Process]:
    """Returns the descendants of a process, or of this one, that have a name: a training is `advkd train`."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def beside(machine: Machine, log: Path, *words: str) -> Iterator[None]:
    """`python -m words...` until the block ends; what it says goes to a file."""
    with log.open("w") as sink:
        # Anywhere but in the checkout: the deployment must know where its code is.
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=log.parent,
            env=machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        yield
    finally:
        stop(process)


def _worker(machine: Machine, worker: Sequence[str] = PREFECTS_WORKER) -> contextlib.AbstractContextManager[None]:
    return beside(machine, machine.worker_log, *worker, "--pool", "cpu", "--type", "process")
