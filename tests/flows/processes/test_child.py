"""A command in a process of its own: what it says comes back, and it never outlives the call, whatever happens.

The laws hold for a new interpreter as for one that was forked earlier.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows.processes import spare
from flows.processes.child import ChildError, run_module

STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
from advkd.runtime import progress
signal.signal(signal.SIGTERM, signal.SIG_DFL)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {grandchild.pid}")
with progress() as report:
    for i in range(6000):
        report("training", i, 6000)
        time.sleep(0.1)
"""


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    monkeypatch.syspath_prepend(tmp_path)

    def write(source):
        (tmp_path / "childish.py").write_text(source)
        return "childish"

    return write


def set_aside(monkeypatch):
    """Sets a child aside, as a process does in which nothing has begun: here other tests may have used Prefect."""
    with monkeypatch.context() as patch:
        own = [end for end in threading._threading_atexits if not end.func.__module__.startswith("prefect")]
        patch.setattr(threading, "_threading_atexits", own)
        made = spare.Spare()
    monkeypatch.setattr(spare, "_spare", made)
    return made


@pytest.fixture(params=["a new interpreter", "the spare child"])
def run(request, monkeypatch):
    """`run_module` in each kind of child."""

    def run(module, arguments, *more):
        if request.param == "a new interpreter":
            return run_module(module, arguments, *more)
        made = set_aside(monkeypatch)
        try:
            return run_module(module, arguments, *more, by_spare=True)
        finally:
            assert spare._spare is None
            assert made.returncode is not None

    return run


def ignore(label, done, total, note=""):
    pass


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition, seconds=60.0):
    """Generous: a wait that fails is the only one that takes its time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_the_last_line_of_stdout_comes_back(run, write_module):
    module = write_module("import sys\nprint('one')\nprint(sys.argv[1])\nprint()")
    assert run(module, ["two"], ignore) == "two"


def test_progress_comes_through_and_is_no_complaint(run, write_module):
    module = write_module(
        "import sys, time\n"
        "from advkd.runtime.reporting import progress\n"
        "with progress() as report:\n"
        "    report('training', 0, 9)\n"
        "    time.sleep(0.4)\n"
        "    report('training', 7, 9, 'so far')\n"
        "sys.exit('rule, fact, remedy')\n"
    )
    seen = []
    with pytest.raises(ChildError, match=r"^rule, fact, remedy$"):
        run(module, [], lambda *update: seen.append(update))
    assert seen == [("training", 7, 9, "so far")]


def test_what_a_child_logs_is_logged_by_its_parent(run, write_module):
    module = write_module(
        "import logging, sys\n"
        "from advkd.runtime.relay import relay_logs\n"
        "relay_logs()\n"
        "logging.getLogger('advkd.training.loop').info('continuing from %s', 'here')\n"
        "logging.getLogger('other').info('unheard')\n"
        "try:\n"
        "    1 / 0\n"
        "except ZeroDivisionError:\n"
        "    logging.getLogger('other').exception('odd')\n"
        "sys.exit('rule, fact, remedy')\n"
    )
    said = []
    with pytest.raises(ChildError, match=r"^rule, fact, remedy$"):
        run(module, [], ignore, lambda level, message: said.append((level, message)))
    (info, error) = said
    assert info == (logging.INFO, "advkd.training.loop: continuing from here")
    assert error[0] == logging.ERROR
    assert error[1].startswith("other: odd\nTraceback")
    assert error[1].endswith("ZeroDivisionError: division by zero")


def test_a_silent_failure_is_named(run, write_module):
    with pytest.raises(ChildError, match="childish train failed with exit code 3"):
        run(write_module("raise SystemExit(3)"), ["train"], ignore)


def test_a_kill_is_named_with_the_remedy(run, write_module):
    with pytest.raises(ChildError, match="killed by SIGKILL; run the same flow again"):
        run(write_module("import os\nos.kill(os.getpid(), 9)"), ["train"], ignore)


def test_what_a_child_leaves_running_ends_with_the_call(run, write_module):
    module = write_module(
        "import subprocess, sys\n"
        "quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], **quiet).pid)\n"
    )
    left = run(module, [], ignore)
    assert wait_until(lambda: not is_running(left))


def test_an_interrupted_call_ends_the_child_and_its_children(run, write_module, tmp_path):
    pids = tmp_path / "pids"

    def interrupt(label, done, total, note=""):
        if pids.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(write_module(STUBBORN), [str(pids)], interrupt)
    assert wait_until(lambda: not any(is_running(pid) for pid in pids.read_text().split()))


@pytest.mark.thorough
@pytest.mark.parametrize("by_spare", [False, True])
def test_a_child_whose_parent_was_killed_ends_with_its_next_report(write_module, tmp_path, by_spare):
    pids = tmp_path / "pids"
    module = write_module(STUBBORN)
    code = (
        "from flows.processes import run_module, set_aside\n"
        f"assert {not by_spare} or set_aside()\n"
        f"run_module({module!r}, [{str(pids)!r}], lambda *_: None, by_spare={by_spare})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    finally:
        parent.kill()
        parent.wait()
    child, grandchild = pids.read_text().split()
    try:
        assert wait_until(lambda: not is_running(child))
    finally:
        for pid in (child, grandchild):
            if is_running(pid):
                os.kill(int(pid), signal.SIGKILL)
