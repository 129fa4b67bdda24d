"""`python -m flows.serve`: runs server, deployments and workers of one machine in one command, until Ctrl-C.

It starts a worker for the pool `cpu`, and per GPU one for trainings and one for precomputes, which see no other GPU. A
process that ends by itself is started again. Ctrl-C, SIGTERM and a closed terminal end all processes, workers and their
runs first; a second Ctrl-C kills them at once. The next `serve` resumes the runs from the shards and checkpoints that
exist.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prefect.settings import PREFECT_HOME, PREFECT_SERVER_API_HOST, PREFECT_SERVER_API_PORT

from advkd.runtime import console, die_with_parent
from flows.processes import (
    UI_ENVIRONMENT,
    answers,
    descendants,
    end,
    interrupt_on_hangup,
    marked_processes,
    shards_per_gpu,
)
from flows.serving.database import DatabaseError, database_settings, look_at_database
from flows.serving.declared import working_folder
from flows.serving.deploying import PRECOMPUTE_QUEUE, TRAINING_QUEUE, gpu_count

_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 5.0
_MARK = "ADVKD_SERVED_BY"
"""Environment variable that marks every process started here and all of their children."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

CLIENT_ENVIRONMENT = {"PREFECT_CLIENT_MAX_RETRIES": "7", "PREFECT_WORKER_QUERY_SECONDS": "2"}
"""Defaults for workers and runs beside their server, so that they outlast its restart and take runs soon."""


@dataclass
class Service:
    """A process that is kept running, with its log."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    folder: Path | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    started: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Starts the process in a session of its own, so that Ctrl-C reaches it only through `stop`."""
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=die_with_parent(),
                env=dict(self.environment),
                cwd=self.folder,
            )
        self.started = time.monotonic()

    def look(self) -> None:
        """Restarts the process if it has ended, after a pause if it ended at once."""
        if self.process is None or self.process.poll() is None:
            return
        if time.monotonic() - self.started < _PAUSE_SECONDS:
            return
        console().print(f"{self.name} ended with exit code {self.process.returncode} and is started again: {self.log}")
        self.start()

    def stop(self) -> None:
        """Ends the process and everything that it started."""
        if self.process is None:
            return
        below = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        end(below, _STOP_SECONDS)


def serve(host: str, port: int, postgres: str | None = None) -> int:
    """Runs everything until this process is interrupted; returns the exit code.

    Args:
        host: address at which the server listens; any but the loopback is open to the network.
        port: port of the server.
        postgres: URL of the server's database, without a password; None: PREFECT_SERVER_DATABASE_CONNECTION_URL, else a
            SQLite file in PREFECT_HOME.
    """
    home = PREFECT_HOME.value()
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{_address(host)}:{port}/api"
    if answers(url):
        return _refuse(f"port {port} must be free, got a Prefect server at {url}; stop it, or choose --port")
    try:
        database = database_settings(postgres)
        place = look_at_database(database) if database else f"SQLite in {home}"
    except DatabaseError as error:
        return _refuse(str(error))
    if host not in _LOOPBACK:
        console().print(f"warning: the server listens on {host} and requires no password", style="yellow")
    mark = f"{_MARK}={os.getpid()}"
    own = {"PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", _MARK: str(os.getpid())}
    own |= UI_ENVIRONMENT
    environment = {**CLIENT_ENVIRONMENT, **os.environ, **own}
    prefect = [sys.executable, "-m", "prefect"]
    command = [*prefect, "server", "start", "--host", host, "--port", str(port)]
    server = Service("server", command, {**environment, **database}, home / "server.log")
    with ExitStack() as stack:
        # The runs of a killed worker have lost their parent and go on: end them with this process.
        stack.callback(lambda: end(marked_processes(mark), _STOP_SECONDS))
        stack.callback(server.stop)
        server.start()
        with console().status("starting the Prefect server"):
            if not _wait(server, url):
                return _refuse(f"the server must answer within {_START_SECONDS:.0f} s, but did not; read {server.log}")
        with console().status("deploying"):
            deployed = subprocess.run(
                [sys.executable, "-m", "flows.deploy"],
                cwd=working_folder(),
                env=environment,
                capture_output=True,
                check=False,
            )
        if deployed.returncode:
            return _refuse(f"deploying failed:\n{(deployed.stdout + deployed.stderr).decode(errors='replace')}")
        workers = [_worker(environment, home)]
        workers += [
            _gpu_worker(prefect, environment, home, gpu, queues, limit)
            for gpu in range(gpu_count())
            for queues, limit in (((TRAINING_QUEUE, "default"), 1), ((PRECOMPUTE_QUEUE,), shards_per_gpu()))
        ]
        upkeep = Service(
            "upkeep", [sys.executable, "-m", "flows.upkeep"], environment, home / "upkeep.log", working_folder()
        )
        for service in (upkeep, *workers):
            stack.callback(service.stop)
            service.start()
        names = ", ".join(worker.name for worker in workers)
        console().print(f"serving {url.removesuffix('/api')} with {names}; logs in {home}; Ctrl-C ends all of it")
        console().print(f"database: {place}", highlight=False)
        console().print(
            f"  export PREFECT_API_URL={url}\n  prefect deployment run distill/quick --watch", highlight=False
        )
        while True:
            time.sleep(_LOOK_SECONDS)
            for service in (server, upkeep, *workers):
                service.look()


def _address(host: str) -> str:
    """Returns the host at which this machine reaches a server, as it stands in a URL."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reached}]" if ":" in reached else reached


def _worker(environment: Mapping[str, str], home: Path) -> Service:
    command = [sys.executable, "-m", "flows.worker", "--pool", "cpu", "--name", "worker-cpu"]
    return Service("worker cpu", command, environment, home / "worker-cpu.log")


def _gpu_worker(
    prefect: Sequence[str], environment: Mapping[str, str], home: Path, gpu: int, queues: Sequence[str], limit: int
) -> Service:
    """Builds a worker that sees one GPU, for the given queues and number of concurrent runs.

    Its runs are not forked: a fork server for each would hold half a gigabyte, and none was tried with CUDA.
    """
    name = f"worker gpu {gpu} {queues[0]}"
    slug = name.replace(" ", "-")
    own = {**environment, "CUDA_VISIBLE_DEVICES": str(gpu)}
    command = [*prefect, "worker", "start", "--pool", "gpu", "--name", slug, "--limit", str(limit)]
    command += [word for queue in queues for word in ("--work-queue", queue)]
    return Service(name, command, own, home / f"{slug}.log")


def _wait(server: Service, url: str) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while server.process is not None and server.process.poll() is None and time.monotonic() < deadline:
        if answers(url):
            return True
        time.sleep(0.2)
    return False


def _refuse(message: str) -> int:
    console().print(f"error: {message}", style="red", markup=False, soft_wrap=True)
    return 1


def run_server() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description="Server, deployments and workers.")
    parser.add_argument(
        "--host", default=PREFECT_SERVER_API_HOST.value(), help="where the server listens [%(default)s]"
    )
    parser.add_argument("--port", type=int, default=PREFECT_SERVER_API_PORT.value(), help="its port [%(default)s]")
    parser.add_argument(
        "--postgres", metavar="URL", help="its database, as postgresql://user@host/name; the password from PGPASSWORD"
    )
    options = parser.parse_args()
    # A shell's background job ignores Ctrl-C unless it sets a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt_on_hangup()
    try:
        sys.exit(serve(options.host, options.port, options.postgres))
    except KeyboardInterrupt:
        console().print("stopped; runs that were under way go on with the next `make serve`")
        sys.exit(0)
