"""Processes are found by what they inherit, whoever their parent is by now."""

import os
import subprocess
import sys
import uuid

from flows.processes.process_tree import descendants, end, marked_processes
from tests.flows.processes.test_child import is_running, wait_until

PARENT = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(left.pid, flush=True)
"""


def test_a_process_whose_parent_is_gone_is_found_by_its_mark_and_ended():
    name, value = "ADVKD_TEST_MARK", uuid.uuid4().hex
    parent = subprocess.run(
        [sys.executable, "-c", PARENT], env={**os.environ, name: value}, stdout=subprocess.PIPE, text=True, check=True
    )
    left = int(parent.stdout)
    try:
        assert left not in descendants(os.getpid())
        assert marked_processes(f"{name}={value}") == {left}
        assert marked_processes(f"{name}={value[:-1]}") == set()
    finally:
        end(marked_processes(f"{name}={value}"), 5.0)
    assert wait_until(lambda: not is_running(left))
