"""A child that was forked in advance: there is one where that is safe, it holds nothing of its parent, and it ends."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from advkd.students import WEIGHTS
from advkd.trajectories import precompute
from flows.processes import run_module, spare
from flows.processes.child import ChildKilledError
from tests.advkd.conftest import mixture_spec, tiny_train
from tests.flows.processes.test_child import ignore, is_running, set_aside, wait_until

SAYS = """
import json, logging, os, signal, sys, threading
FILES = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
print(json.dumps({
    "inherited": hasattr(logging, "of_the_parent"),
    "argv": sys.argv[1:], "cwd": os.getcwd(), "of": os.environ.get("OF"), "later": os.environ.get("LATER"),
    "handlers": len(logging.root.handlers) + len(logging.getLogger("advkd").handlers),
    "terminate": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
    "group": os.getpgid(0) == os.getpid(),
    "threads": threading.active_count(),
    "stdin": sys.stdin.read(),
    "name": open("/proc/self/comm").read().strip(),
    "files": sorted({os.readlink(file).partition(":")[0] for file in FILES if os.path.lexists(file)}),
}))
"""


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """Sets a child aside, which finds `saying`, and returns it."""
    (tmp_path / "saying.py").write_text(SAYS)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda: set_aside(monkeypatch)


def says():
    return json.loads(run_module("saying", ["one", "two words"], ignore, by_spare=True))


def test_it_has_its_parents_modules_and_nothing_else_of_it(aside, tmp_path, monkeypatch):
    monkeypatch.setattr(logging, "of_the_parent", True, raising=False)
    monkeypatch.setattr(logging.getLogger("advkd"), "handlers", [logging.NullHandler()])
    monkeypatch.setenv("OF", "its start")
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            aside()
            monkeypatch.setenv("OF", "the call")
            monkeypatch.setenv("LATER", "sä\udce9")
            monkeypatch.chdir(tmp_path)
            said = says()
    finally:
        signal.signal(signal.SIGTERM, before)
    files = said.pop("files")
    assert said == {
        "inherited": True,
        "argv": ["one", "two words"],
        "cwd": str(tmp_path),
        "of": "the call",
        "later": "sä\udce9",
        "handlers": 0,
        "terminate": True,
        "group": True,
        "threads": 1,
        "stdin": "",
        "name": "saying one",
    }
    # stdout and stderr are pipes; connections and files of the parent are gone.
    assert files == ["/dev/null", "pipe"]


def test_a_second_call_and_one_whose_child_was_killed_start_a_new_interpreter(aside, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.setattr(logging, "of_the_parent", True, raising=False)
    made = aside()
    assert [says()["inherited"], says()["inherited"]] == [True, False]
    assert made.returncode == 0
    made = aside()
    os.kill(made.pid, signal.SIGKILL)
    made.wait(60)
    assert says()["inherited"] is False


def test_a_child_that_dies_of_its_order_was_killed(aside, monkeypatch):
    made = aside()
    monkeypatch.setattr(spare.Spare, "run", lambda self, *_: os.kill(self.pid, signal.SIGKILL))
    with pytest.raises(ChildKilledError, match="killed by SIGKILL"):
        run_module("saying", [], ignore, by_spare=True)
    assert made.returncode == -signal.SIGKILL


def test_none_is_set_aside_beside_other_threads(monkeypatch):
    monkeypatch.setattr(spare, "_spare", None)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert not spare.set_aside()
        assert spare.take_spare() is None
    finally:
        ended.set()
        thread.join()


@pytest.mark.thorough
@pytest.mark.parametrize("kill", [False, True])
def test_a_child_that_nobody_needs_ends_with_its_parent(kill):
    code = (
        "import sys, time\nfrom flows.processes import spare\n"
        "assert spare.set_aside() and spare.set_aside()\nprint(spare._spare.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = parent.stdout.readline().strip()
        assert is_running(pid)
        if kill:
            parent.kill()
        parent.stdin.close()
        assert parent.wait(60) == (-signal.SIGKILL if kill else 0)
    assert wait_until(lambda: not is_running(pid))


@pytest.mark.thorough
def test_a_worker_s_process_sets_it_aside_before_anything_has_begun():
    """A library that starts a thread when it is imported would take the spare child away."""
    code = (
        "import flows.deployed, os, threading, torch\n"
        "from flows.processes import spare\n"
        "native = len(os.listdir('/proc/self/task'))\n"
        "print(spare.take_spare() is not None, threading.active_count(), native, torch.cuda.is_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        # OpenBLAS has no threads then, which end for a fork by themselves: what is left are threads that do not.
        env={**os.environ, "PREFECT__FLOW_RUN_ID": "a run", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "1", "1", "False"]


@pytest.mark.thorough
def test_it_trains_the_student_that_a_new_interpreter_trains(aside, tmp_path):
    # Before this process computes, as in a flow.
    aside()
    store = precompute(mixture_spec(tmp_path / "stores")).uri
    spec = tmp_path / "train.json"
    spec.write_text(json.dumps(asdict(tiny_train())))
    trained = []
    for place in ("forked", "new"):
        out = str(tmp_path / place)
        assert spare._spare is None or place == "forked"
        folder = run_module(
            "advkd", ["train", "--store", store, "--out", out, "--spec", str(spec)], ignore, by_spare=True
        )
        assert folder == f"{out}/student"
        trained.append(Path(folder, WEIGHTS).read_bytes())
    assert trained[0] == trained[1]
