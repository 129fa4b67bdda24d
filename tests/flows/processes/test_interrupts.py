"""Ctrl-C ends a command in order; a second one ends it at once, with everything below it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import is_running, wait_until

SLOW = """
import subprocess, sys, time
from flows.processes import interrupt_on_hangup
interrupt_on_hangup()
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
below = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
below.stdout.readline()
try:
    print(below.pid, flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("ending", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def slow():
    """A command that takes ten minutes to end in order, and the process below it."""
    process = subprocess.Popen([sys.executable, "-c", SLOW], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    below = int(process.stdout.readline())
    yield process, below
    process.kill()
    process.wait()
    process.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        os.kill(below, signal.SIGKILL)


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_one_ends_everything_at_once(slow, number):
    process, below = slow
    process.send_signal(number)
    assert process.stdout.readline() == "ending\n"
    time.sleep(0.6)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert wait_until(lambda: not is_running(below))


@pytest.mark.thorough
def test_the_same_one_told_twice_is_one(slow):
    process, _ = slow
    for number in (signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
    assert process.stdout.readline() == "ending\n"
    time.sleep(0.6)
    assert process.poll() is None
