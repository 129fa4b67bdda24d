"""A worker whose runs are forked from a process that has imported everything, so that they start in a second.

`prefect worker start` starts three interpreters one after another for each run of a pool of type process; the last one
imports torch and diffusers. This worker is that command, with a fork server beside it, whose forks take runs of
our own flows. A run is left to Prefect if its deployment or its pool sets a command, or an environment that the fork
server did not start with, or if its flow is not one of ours.

A worker runs for months, so what a run has left is freed after a few more (`collect_sooner`).
"""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import prefect.workers.process
import yaml
from prefect.flows import Flow, load_flow_from_flow_run
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from advkd.runtime import die_with_parent
from flows.engine import FORK_SERVER
from flows.serving.declared import declaration

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

_LONGEST_PATH = 100
"""Characters of a Unix socket's path, by the kernel's limit of 108 bytes."""


class Forks:
    """The fork server of this worker, started again where it has gone.

    Args:
        declared: what the deployments set for their runs, over this process's own environment.
    """

    def __init__(self, declared: Mapping[str, str]) -> None:
        self._declared = dict(declared)
        self._process: subprocess.Popen[bytes] | None = None
        self.path = ""

    def fits(self, environment: Mapping[str, str | None]) -> bool:
        """Returns whether a run with these variables finds the same values in the server, and none that it lacks."""
        names = {*environment, *self._declared}
        return all(environment.get(name, os.environ.get(name)) == self._started(name) for name in names)

    def _started(self, name: str) -> str | None:
        return self._declared.get(name, os.environ.get(name))

    def ensure(self) -> bool:
        """Starts the server if it is not running; returns False where it cannot run. It answers a while later."""
        if self._process is not None and self._process.poll() is None:
            return True
        if not sys.platform.startswith("linux") or len(tempfile.gettempdir()) > _LONGEST_PATH - len(
            "/advkd-12345678/s"
        ):
            return False
        self.end()
        # Nobody else may enter it. It goes with the server.
        self.path = str(Path(tempfile.mkdtemp(prefix="advkd-")) / "s")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.warm", self.path],
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
            env={**os.environ, **self._declared},
        )
        return True

    def end(self) -> None:
        """Ends the server, and with it the runs that are left."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            # One that was killed, or had not begun to serve, has left it.
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


class ForkingConfiguration(ProcessJobConfiguration):
    """How a run is started: by `python -m flows.engine`, where that is possible."""

    forks: ClassVar[Forks | None] = None
    forked: ClassVar[set[UUID]] = set()

    def prepare_for_flow_run(
        self, flow_run: "FlowRun", deployment: "DeploymentResponse | None" = None, *others: Any, **more: Any
    ) -> None:
        """Chooses the command, then does what Prefect does."""
        forks = self.forks
        ours = deployment is not None and (deployment.entrypoint or "").startswith("flows.")
        if forks is not None and ours and self.command is None and forks.fits(self.env) and forks.ensure():
            self.command = command_to_string([sys.executable, "-m", "flows.engine"])
            self.env[FORK_SERVER] = forks.path
            self.forked.add(flow_run.id)
        super().prepare_for_flow_run(flow_run, deployment, *others, **more)


async def _flow_of_hooks(flow_run: "FlowRun") -> "Flow[..., Any]":
    """Returns the flow whose hooks run when a run has crashed or was cancelled. Ours have none, so a worker loads none.

    To load one is to import torch into the worker, while it should look for other runs.
    """
    if flow_run.id in ForkingConfiguration.forked:
        return Flow(_nothing, name="advkd")
    return await load_flow_from_flow_run(flow_run)


def _nothing() -> None:
    """Does nothing."""


def collect_sooner() -> None:
    """Has Python's garbage collector look at what runs leave, and no more at what this process has imported.

    Each run of Prefect's worker leaves clients in reference cycles, with about a megabyte of certificates that the
    collector does not count. It examines old objects only when they have become a quarter more, and a quarter of all
    imports is what some forty runs leave.
    """
    gc.collect()
    gc.freeze()
    # Now it knows that few are left to be a quarter of.
    gc.collect()


def run_worker() -> None:
    """Runs the command line of `prefect worker start`."""
    vars(prefect.workers.process)["load_flow_from_flow_run"] = _flow_of_hooks
    with warnings.catch_warnings():
        # It takes the place of Prefect's own for pools of this type.
        warnings.filterwarnings("ignore", message="Type .* matches existing registered type")

        class ForkingWorker(ProcessWorker):
            """Prefect's worker for pools of type process."""

            type = "process"
            job_configuration = ForkingConfiguration

            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                collect_sooner()

    from prefect.cli import app

    sys.argv = ["prefect", "worker", "start", *sys.argv[1:]]
    forks = ForkingConfiguration.forks = Forks(declared_environment())
    forks.ensure()
    try:
        app()
    finally:
        forks.end()


def declared_environment() -> dict[str, str]:
    """Returns the variables that the deployments of prefect.yaml set for their runs."""
    found: dict[str, str] = {}
    for deployment in yaml.safe_load(Path(declaration()).read_text(encoding="utf-8")).get("deployments") or ():
        pool = deployment.get("work_pool") or {}
        found |= (pool.get("job_variables") or {}).get("env") or {}
    return found
