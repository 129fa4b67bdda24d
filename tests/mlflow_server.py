"""A real MLflow tracking server for tests: a process with a database, whose artifacts go through it to S3."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.reaper import die_with_parent
from tests.s3_server import _free_port, end

_SERVE = "from mlflow.cli import cli; cli(prog_name='mlflow')"
_PATIENCE_SECONDS = 240
MORE = Path(__file__).resolve().parents[1] / ".venv" / "services"
"""What only servers of tests need (`make test-slow` installs it): a driver of PostgreSQL, forms of the login."""


@dataclass
class MlflowServer:
    """A server that can be ended and started again at the same address."""

    folder: Path
    port: int
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-c", _SERVE, "server", "--host", "127.0.0.1", "--port"]
        command += [str(self.port), "--workers", "1", *self.options]
        with (self.folder / "mlflow-server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            said = (self.folder / "mlflow-server.log").read_text()
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except urllib.error.HTTPError:
            # It asks for a password.
            return True
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, 20)
            self.process = None


@contextlib.contextmanager
def serve_mlflow(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[MlflowServer]:
    """Serves until the block ends; skips the test where the server's own packages are missing."""
    pytest.importorskip("flask", reason="MLflow's server needs flask, which moto[server] brings")
    paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(MORE)]))
    said = {"PYTHONPATH": paths, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", **(environment or {})}
    folder.mkdir(parents=True, exist_ok=True)
    server = MlflowServer(folder, _free_port(), options, said)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def needs(package: str) -> None:
    """Skips a test whose server needs a package that is not there."""
    if not (MORE / package).is_dir():
        pytest.skip(f"the test's server needs {package}; `make test-slow` installs it")
