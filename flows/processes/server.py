"""Runs a private Prefect server for one command: loopback, a free port, its own home; it ends with the command.

Prefect would start a temporary server itself. This one starts while the teacher loads, keeps its history below the
run's root, prints nothing on the terminal and is stopped in order.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from advkd.runtime import die_with_parent
from flows.processes.reachability import answers

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0

UI_ENVIRONMENT = {"PREFECT_SERVER_UI_API_URL": "/api"}
"""Makes a server's pages call the host and port that served them; the default is 127.0.0.1:4200."""


class ServerError(RuntimeError):
    """The server did not start."""


@contextmanager
def own_server(home: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Callable[[], str]]:
    """Starts a server and stops it at the end; yields a function that waits for it and returns its API URL.

    Args:
        home: PREFECT_HOME of the server, with its database and its log, `server.log`.
        options: further options of `prefect server start`.
        settings: further settings of the server, as environment variables.

    Raises:
        ServerError: raised by the yielded function if the server does not start; names the log.
    """
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), home / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), *options]
    # Settings of another server, of a profile or of a file in the working directory are not for this one.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    said = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", **UI_ENVIRONMENT}
    with log.open("w") as sink:
        # Use its own process group: Ctrl-C must reach the flow first and the server last.
        server = subprocess.Popen(
            command,
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(),
            env={**inherited, **said, **(settings or {}), "PREFECT_HOME": str(home.resolve())},
            cwd=home,
        )
    try:
        yield lambda: _ready(server, f"http://127.0.0.1:{port}/api", log)
    finally:
        stop(server)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that leads its own group, and its children: by SIGINT, then by SIGKILL."""
    for number, patience in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def free_port() -> int:
    """Returns a free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(server: "subprocess.Popen[bytes]", url: str, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        if answers(url):
            return url
        time.sleep(0.1)
    raise ServerError(f"the Prefect server must answer within {_START_SECONDS:.0f} s, but did not; read {log}")
