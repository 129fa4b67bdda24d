"""The fork server by its laws: a run has its parent's modules and its command's environment, and ends as it must."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from advkd.runtime import receive, send
from flows.processes.fork_server import FORK_SERVER_NAME
from tests.flows.processes.test_child import is_running, wait_until
from tests.reaper import die_with_parent

pytestmark = pytest.mark.thorough

SERVER = """
import runpy, sys
import loaded
from flows.processes.fork_server import run_fork_server
from flows.processes.forking import become
order = run_fork_server(sys.argv[1])
become(order)
runpy.run_module(order.module, run_name="__main__", alter_sys=True)
"""
SAYS = """
import json, os, sys
import loaded
sys.stderr.write("and this")
print(json.dumps({"by": loaded.BY, "of": os.environ.get("OF"), "later": os.environ.get("LATER"),
    "folder": os.getcwd(), "group": os.getpgid(0) == os.getpid()}))
sys.exit(7)
"""
ENDLESS = """
import pathlib, subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("below").write_text(str(below.pid))
time.sleep(600)
"""
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"server": SERVER, "says": SAYS, "endless": ENDLESS, "killed": KILLED}.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "loaded.py").write_text("import os\nBY = os.getpid()\n")
    return tmp_path


@contextlib.contextmanager
def fork_server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    (folder / "own").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "server", str(folder / "own" / "socket")],
        env={**os.environ, "PYTHONPATH": path, "OF": "the server", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    try:
        assert wait_until((folder / "own" / "socket").exists, 120)
        yield server
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with fork_server(folder) as running:
        yield running


def ask(folder: Path, module: str, *files: int) -> tuple[dict, socket.socket]:
    """What the server answers, and the connection."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        return _asked(connection, folder, module, files), connection
    except BaseException:
        connection.close()
        raise


def _asked(connection: socket.socket, folder: Path, module: str, files: Sequence[int]) -> dict:
    connection.settimeout(60)
    connection.connect(str(folder / "own" / "socket"))
    environment = {"PATH": os.environ["PATH"], "OF": "the run", "LATER": "sä\udce9"}
    with Path(os.devnull).open("wb") as nothing:
        send(
            connection,
            {"module": module, "folder": str(folder), "environment": environment},
            files or (nothing.fileno(), nothing.fileno()),
        )
    return receive(connection)[0]


def end_of(connection: socket.socket) -> int:
    return receive(connection)[0]["code"]


def test_a_run_has_the_servers_modules_and_the_rest_of_its_command(server, folder):
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        _, connection = ask(folder, "says", out.fileno(), err.fileno())
    with connection:
        assert end_of(connection) == 7
    said = json.loads((folder / "out").read_text())
    assert said == {"by": server.pid, "of": "the run", "later": "sä\udce9", "folder": str(folder), "group": True}
    assert (folder / "err").read_text().endswith("and this")
    assert psutil.Process(server.pid).name() == FORK_SERVER_NAME


def test_a_signal_that_ends_a_run_is_told_and_the_server_goes_on(server, folder):
    for _ in range(2):
        _, connection = ask(folder, "killed")
        with connection:
            assert end_of(connection) == -signal.SIGKILL
    # No zombie is left, and no connection.
    assert wait_until(lambda: not psutil.Process(server.pid).children())
    assert wait_until(lambda: len(psutil.Process(server.pid).net_connections("unix")) == 1)


def test_a_run_whose_command_goes_is_killed_and_other_runs_are_not(server, folder):
    answers, connections = zip(*(ask(folder, "endless") for _ in range(2)), strict=True)
    first, second = (answer["pid"] for answer in answers)
    assert wait_until((folder / "below").exists)
    connections[0].close()
    assert wait_until(lambda: not is_running(first))
    assert is_running(second)
    connections[1].close()
    assert wait_until(lambda: not is_running(second))


def test_a_command_that_goes_as_its_run_ends_does_not_end_the_server(server, folder):
    for _ in range(20):
        _, connection = ask(folder, "killed")
        connection.close()
    _, connection = ask(folder, "killed")
    with connection:
        assert end_of(connection) == -signal.SIGKILL


@pytest.mark.parametrize("fails", ["leave_parent", "pidfd_open"])
def test_a_fork_that_fails_is_no_second_server_and_no_run(folder, fails):
    breaks = "module.leave_parent = fail" if fails == "leave_parent" else "module.os.pidfd_open = fail_for_others"
    (folder / "server.py").write_text(
        "import os\nimport flows.processes.fork_server as module\nopened = os.pidfd_open\n"
        "def fail(*_, **__): raise OSError('no')\n"
        "def fail_for_others(pid): return opened(pid) if pid == os.getpid() else fail()\n" + breaks + "\n" + SERVER
    )
    with fork_server(folder) as server:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                _, connection = ask(folder, "says")
                stack.enter_context(connection)
                assert fails == "leave_parent"
                assert end_of(connection) == 1
            assert wait_until(lambda: not psutil.Process(server.pid).children())
        assert server.poll() is None


def test_a_killed_server_takes_its_runs_with_it(server, folder):
    answer, connection = ask(folder, "endless")
    assert wait_until((folder / "below").exists)
    server.kill()
    with connection, pytest.raises(OSError, match="the other end has gone"):
        receive(connection)
    assert wait_until(lambda: not is_running(answer["pid"]))


def test_a_terminated_server_leaves_neither_runs_nor_its_folder(server, folder):
    answer, connection = ask(folder, "endless")
    with connection:
        server.terminate()
        assert server.wait(60) == 0
    assert wait_until(lambda: not is_running(answer["pid"]))
    assert not (folder / "own").exists()


def test_changed_code_is_not_forked_and_the_server_starts_itself_again(server, folder):
    running, kept = ask(folder, "endless")
    (folder / "loaded.py").write_text("import os\nBY = 'changed'\n")
    refused, connection = ask(folder, "says")
    connection.close()
    assert "code has changed" in refused["refused"]
    # The run that was forked before goes on, and the server waits for its end.
    assert is_running(running["pid"])
    kept.close()

    def says() -> str:
        with contextlib.suppress(OSError), (folder / "out").open("wb") as out:
            answer, again = ask(folder, "says", out.fileno(), out.fileno())
            with again:
                return "" if "refused" in answer else f"{end_of(again)} {(folder / 'out').read_text()}"
        return ""

    assert wait_until(lambda: '"by": "changed"' in says(), 120)
    assert server.poll() is None


def test_what_is_no_message_is_let_go_and_a_silent_one_does_not_block_for_ever(server, folder):
    for text in (b"", b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\4nope", b'\0\0\0\x0e{"module": 1  }'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(folder / "own" / "socket"))
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(10) == b""
    # An order without files.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(folder / "own" / "socket"))
        send(connection, {"module": "says", "folder": str(folder), "environment": {}})
        assert connection.recv(10) == b""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(folder / "own" / "socket"))
        _, connection = ask(folder, "killed")
        with connection:
            assert end_of(connection) == -signal.SIGKILL
    assert time.monotonic() - began < 30
