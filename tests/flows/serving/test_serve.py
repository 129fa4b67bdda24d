"""`make serve` as a user types it: server, deployments and a worker come up, and Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from flows.processes.server import free_port
from flows.serving.serve import _address
from tests.flows.deployed_home import copy_database
from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import wait_until
from tests.postgres_server import serve_postgres


@pytest.mark.slow
def test_everything_comes_up_and_ctrl_c_leaves_nothing(machine, deployed, tmp_path):
    port = free_port()
    home, said = tmp_path / "home", tmp_path / "said"
    copy_database(deployed, home)
    kept = {name: value for name, value in machine.environment.items() if name != "PREFECT_API_URL"}
    with said.open("w") as sink:
        serve = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port)],
            cwd=CHECKOUT,
            env={**kept, "PREFECT_HOME": str(home)},
            stdout=sink,
            stderr=sink,
        )
    try:
        assert wait_until(lambda: "serving" in said.read_text() or serve.poll() is not None, 240)
        assert serve.poll() is None, said.read_text()
        worker = home / "worker-cpu.log"
        assert wait_until(lambda: worker.exists() and "started" in worker.read_text(), 240)
        started = psutil.Process(serve.pid).children(recursive=True)
        # Loopback alone, unless told.
        bound = {
            connection.laddr.ip
            for process in started
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        }
        assert bound == {"127.0.0.1"}
        # Its pages ask where they came from, whatever host and port that was.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ui-settings") as answer:
            assert json.load(answer)["api_url"] == "/api"
        os.kill(serve.pid, signal.SIGINT)
        assert serve.wait(120) == 0
    finally:
        serve.kill()
        serve.wait()
    assert wait_until(lambda: not any(process.is_running() for process in started))
    assert "Traceback" not in said.read_text()
    assert f"serving http://127.0.0.1:{port}" in said.read_text()


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("a.example", "a.example"),
    ],
)
def test_a_host_as_it_stands_in_a_url(host, reached):
    assert _address(host) == reached


def test_a_port_that_is_taken_is_said(machine):
    port = machine.environment["PREFECT_API_URL"].rpartition(":")[2].split("/")[0]
    with urllib.request.urlopen(f"{machine.environment['PREFECT_API_URL']}/health"):
        pass
    refused = machine.python("-m", "flows.serve", "--port", port)
    assert refused.returncode == 1
    assert f"port {port} must be free" in refused.stdout


@pytest.mark.slow
def test_it_serves_on_postgresql(machine, tmp_path):
    port, said = free_port(), tmp_path / "said"
    kept = {name: value for name, value in machine.environment.items() if name != "PREFECT_API_URL"}
    with serve_postgres() as postgres:
        name = postgres.make_database()
        command = [sys.executable, "-m", "flows.serve", "--port", str(port), "--postgres", postgres.bare_url(name)]
        with said.open("w") as sink:
            serve = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env={**kept, "PREFECT_HOME": str(tmp_path / "home"), "PGPASSWORD": postgres.password},
                stdout=sink,
                stderr=sink,
            )
        try:
            assert wait_until(lambda: "database: " in said.read_text() or serve.poll() is not None, 480)
            assert f"database {name}" in said.read_text(), said.read_text()
            assert int(postgres.ask("SELECT count(*) FROM deployment", name)) > 5
            assert not (tmp_path / "home" / "prefect.db").exists()
            os.kill(serve.pid, signal.SIGINT)
            assert serve.wait(120) == 0
        finally:
            serve.kill()
            serve.wait()
        assert postgres.password not in "".join(path.read_text() for path in (tmp_path / "home").glob("*.log"))
