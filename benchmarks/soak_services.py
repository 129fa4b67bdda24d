"""What a team's runs stand on and `make soak` also takes away: PostgreSQL and an S3 server, for some seconds."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.postgres_server import Postgres, serve_postgres
from tests.s3_server import S3Server, start_s3

AWAY_SECONDS = 10.0
"""For so long a service is away; clients' own retries last longer."""


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
