"""What a team's runs stand on: PostgreSQL, an S3 server and `make serve`. `make soak` takes the first two away."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.measure import ROOT
from flows.processes.server import free_port
from tests.postgres_server import Postgres, serve_postgres
from tests.s3_server import S3Server, start_s3

AWAY_SECONDS = 10.0
"""For so long a service is away; clients' own retries last longer."""
START_SECONDS = 60.0
"""In which a killed server or worker comes up."""
SMALL: dict[str, Any] = {
    "train": {
        "samples": 6400,
        "student": {"width": 16, "blocks": 1},
        "rise_samples": 640,
        "checkpoint_every": 640,
    },
    "samples": 64,
}
"""Parameters of `distill/quick` for a run of seconds."""
SMALL_MIXTURE: dict[str, Any] = {**SMALL, "precompute": {"samples": 512, "shard_samples": 128}}
_LOOK_SECONDS = 0.2


@dataclass
class Services:
    """PostgreSQL below the Prefect server, S3 below the runs."""

    postgres: Postgres
    s3: S3Server
    process: "subprocess.Popen[bytes]"
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def take_away(self, name: str) -> None:
        """Kills a service, waits, and starts it again at the same address with what it had."""
        if name == "postgres":
            self.postgres.stop(signal.SIGQUIT)
            time.sleep(AWAY_SECONDS)
            self.postgres.start()
            return
        self.process.kill()
        self.process.wait()
        time.sleep(AWAY_SECONDS)
        port = int(self.s3.endpoint.rpartition(":")[2])
        self.process, _ = start_s3(self.s3.folder, self.s3.key, self.s3.secret, port)


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """Starts both; this process can reach the S3 server, too."""
    (folder / "s3").mkdir()
    key, secret = "soak", "soak-secret-key"
    process, port = start_s3(folder / "s3", key, secret)
    s3 = S3Server(f"http://127.0.0.1:{port}", key, secret, folder / "s3")
    with serve_postgres() as postgres:
        name = postgres.make_database()
        found = Services(postgres, s3, process)
        found.options = ["--postgres", postgres.bare_url(name)]
        registry = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        found.environment = {**s3.environment(), **registry, "PGPASSWORD": postgres.password}
        before = dict(os.environ)
        os.environ.update(s3.environment())
        try:
            yield found
        finally:
            os.environ.clear()
            os.environ.update(before)
            found.process.kill()
            found.process.wait()


@contextlib.contextmanager
def served(folder: Path, below: Services) -> Iterator[psutil.Process]:
    """`make serve` on PostgreSQL with a home of its own, and this process as its client."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    more = {"PREFECT_HOME": str(folder / "home"), "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    said = folder / "said"
    with said.open("w") as sink:
        serve = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port), *below.options],
            cwd=ROOT,
            env={**kept, **more, **below.environment},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        while "serving" not in said.read_text():
            assert serve.poll() is None, said.read_text()
            time.sleep(_LOOK_SECONDS)
        with temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield psutil.Process(serve.pid)
    finally:
        serve.send_signal(signal.SIGINT)
        serve.wait(START_SECONDS)


def start_run(root: str, teacher: str, parameters: dict[str, Any]) -> UUID:
    """Has the server start `distill/quick`; returns the run's id."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("distill/quick")
        given = {**parameters, "teacher": teacher, "root": root}
        return client.create_flow_run_from_deployment(deployment.id, parameters=given).id
