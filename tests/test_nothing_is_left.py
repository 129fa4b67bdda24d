"""What tests start ends with the test process, however that ends: a run of pytest is killed and looked for."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.flows.deployed_home import PLACE, deployed_home
from tests.reaper import MARK, marked_processes

CHECKOUT = Path(__file__).parents[1]
START_SECONDS = 480.0
"""Of a run: on busy cores a server, a worker and a flow run take minutes to come up."""
LEFT_SECONDS = 60.0
END_SECONDS = 120.0
"""Of a run that was told to end. Neither takes a second where the cores are quiet."""
SAY = """
import os, pathlib

def _say_that_all_runs():
    said = pathlib.Path(os.environ["STARTED"])
    said.with_suffix(".new").write_text(str(os.getpid()))
    said.with_suffix(".new").rename(said)
"""
SMALL_PROCESSES = """
import multiprocessing, subprocess, time

def test_that_never_ends(s3_server):
    # A terminal with a job in its background, in a session of its own; and a fork.
    subprocess.Popen(["bash", "-c", "sleep 900 & sleep 901"], start_new_session=True)
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(902,)).start()
    _say_that_all_runs()
    time.sleep(900)
"""
RUNNING_FLOW = """
import time
from tests.flows.processes.test_child import wait_until
from tests.flows.machine import processes_below
from tests.flows.serving.test_deployments import TINY

def test_that_never_ends(machine, tmp_path):
    endless = 'train={"samples": 10000000, "student": {"width": 16, "blocks": 1}}'
    given = [word for one in (*TINY[:2], endless, f"root={tmp_path}") for word in ("--param", one)]
    started = machine.prefect("deployment", "run", "distill/quick", *given)
    assert wait_until(lambda: processes_below("advkd train"), 400), started.stdout + machine.worker_log.read_text()
    _say_that_all_runs()
    time.sleep(900)
"""


class Run:
    """A run of pytest in a process of its own, and all that it started."""

    def __init__(self, folder: Path, code: str, options: Sequence[str]) -> None:
        self._started, self._said = folder / "started", folder / "said"
        (folder / "test_endless.py").write_text(SAY + code)
        self._mark = f"ADVKD_TEST_RUN={uuid.uuid4().hex}"
        name, value = self._mark.split("=")
        places = {name: value, "STARTED": str(self._started)}
        # Not marked as ours: what its own reaper leaves, ours must not hide.
        kept = {name: value for name, value in os.environ.items() if name != MARK and not name.startswith("PYTEST_")}
        with self._said.open("w") as sink:
            self.pytest = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "tests.conftest", *options, f"--rootdir={folder}", str(folder)],
                cwd=CHECKOUT,
                env={**kept, **places, "PYTHONPATH": str(CHECKOUT)},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    @property
    def left(self) -> dict[int, str]:
        """What runs now and was started by it: pid -> command line."""
        return {pid: command for pid in marked_processes(self._mark) if (command := _command(pid))}

    def test_process(self) -> int:
        """The pid of the process that runs the test, once it has started all."""
        assert _wait(lambda: self._started.exists() or self.pytest.poll() is not None, START_SECONDS)
        assert self.pytest.poll() is None, self._said.read_text()
        return int(self._started.read_text())

    def kill_what_is_left(self) -> None:
        self.pytest.kill()
        self.pytest.wait()
        for pid in self.left:
            os.kill(pid, signal.SIGKILL)


pytestmark = [pytest.mark.thorough, pytest.mark.timeout(START_SECONDS + 60)]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(code: str, *options: str) -> Run:
        runs.append(Run(tmp_path, code, options))
        return runs[-1]

    yield start
    for run in runs:
        run.kill_what_is_left()


def _wait(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def _command(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        # What was forked has its parent's command line, and a name of its own.
        return command and f"{command}({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return ""


def assert_running(run: Run, *parts: str) -> None:
    """A command with each of these is there."""
    commands = "\n".join(run.left.values())
    assert [part for part in parts if part not in commands] == [], commands


def test_a_terminated_run_leaves_nothing(started: Callable[..., Run]) -> None:
    run = started(SMALL_PROCESSES, "--numprocesses", "1")
    run.test_process()
    assert_running(run, "rclone", "sleep 900", "sleep 901", "tests.reaper")
    run.pytest.terminate()
    assert run.pytest.wait(END_SECONDS) == -signal.SIGTERM
    assert _wait(lambda: not run.left, LEFT_SECONDS), run.left


@pytest.mark.slow
def test_a_killed_process_of_several_leaves_nothing(started: Callable[..., Run]) -> None:
    run = started(SMALL_PROCESSES, "--numprocesses", "1", "--max-worker-restart", "0")
    worker = run.test_process()
    assert worker != run.pytest.pid
    os.kill(worker, signal.SIGKILL)
    assert run.pytest.wait(END_SECONDS) == pytest.ExitCode.TESTS_FAILED
    assert _wait(lambda: not run.left, LEFT_SECONDS), run.left


@pytest.mark.slow
def test_a_killed_run_leaves_no_server_worker_or_flow_run(
    started: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(deployed_home(tmp_path_factory)))
    run = started(RUNNING_FLOW, "-p", "tests.flows.conftest")
    run.test_process()
    assert_running(run, "server start", "worker start", "prefect.engine", "advkd train", "rclone")
    run.pytest.kill()
    assert run.pytest.wait(END_SECONDS) == -signal.SIGKILL
    assert _wait(lambda: not run.left, LEFT_SECONDS), run.left
