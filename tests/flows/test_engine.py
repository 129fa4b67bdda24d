"""The command of a run: it ends as its run ends, passes signals on, and needs no fork server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from advkd.runtime import receive, send
from flows.engine import FORK_SERVER
from tests.flows.processes.test_child import wait_until
from tests.reaper import die_with_parent

pytestmark = pytest.mark.thorough


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        server.settimeout(60)
        yield server


@contextlib.contextmanager
def engine(tmp_path, **more):
    command = subprocess.Popen(
        [sys.executable, "-m", "flows.engine"],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), FORK_SERVER: str(tmp_path / "socket"), **more},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield command
    finally:
        command.kill()
        command.wait()
        command.stdout.close()


def order_of(listening, said=b""):
    """Takes an order, and says something on the stdout that came with it."""
    connection, _ = listening.accept()
    order, files = receive(connection)
    os.write(files[0], said)
    for file in files:
        os.close(file)
    return connection, order


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (3, 3), (-signal.SIGKILL, -signal.SIGKILL)])
def test_it_ends_as_its_run_ends(listening, tmp_path, code, ends):
    with engine(tmp_path, PREFECT__FLOW_RUN_ID="of-this-run") as command:
        connection, order = order_of(listening, b"of the run\n")
        with connection:
            send(connection, {"pid": os.getpid()})
            send(connection, {"code": code})
            said, _ = command.communicate(timeout=60)
    assert command.returncode == ends
    assert "of the run" in said
    assert (order["module"], order["folder"]) == ("prefect.engine", str(tmp_path))
    assert order["environment"]["PREFECT__FLOW_RUN_ID"] == "of-this-run"
    assert FORK_SERVER not in order["environment"]


def test_it_passes_a_termination_on(listening, tmp_path):
    run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=die_with_parent)
    with engine(tmp_path) as command:
        connection, _ = order_of(listening)
        with connection:
            send(connection, {"pid": run.pid})
            assert command.stdout.readline() == f"forked: process {run.pid}\n"
            assert wait_until(lambda: handles_termination(command.pid))
            command.terminate()
            assert run.wait(60) == -signal.SIGTERM
            assert command.poll() is None
            send(connection, {"code": 1})
            assert command.wait(60) == 1


def handles_termination(pid):
    """Whether a process has a handler for SIGTERM."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_a_run_whose_server_has_gone_has_failed(listening, tmp_path):
    with engine(tmp_path) as command:
        connection, _ = order_of(listening)
        send(connection, {"pid": os.getpid()})
        connection.close()
        assert command.wait(60) == 1


@pytest.mark.parametrize("why", ["no socket", "nobody listens", "it refuses", "it hangs up"])
def test_without_a_fork_it_becomes_prefects_engine(tmp_path, why):
    listens = socket.socket(socket.AF_UNIX)
    listens.settimeout(60)
    if why != "no socket":
        listens.bind(str(tmp_path / "socket"))
    if why in ("it refuses", "it hangs up"):
        listens.listen()
    with listens, engine(tmp_path, PREFECT__FLOW_RUN_ID="no id") as command:
        if why in ("it refuses", "it hangs up"):
            connection, _ = order_of(listens)
            with connection:
                if why == "it refuses":
                    send(connection, {"refused": "it must not"})
        said, _ = command.communicate(timeout=120)
    assert command.returncode == 1
    assert "an interpreter is started instead" in said
    assert ("it must not" in said) == (why == "it refuses")
    # Prefect's own words.
    assert "Invalid flow run id" in said
