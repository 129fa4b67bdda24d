"""What every flow's process has in its environment before torch and Prefect are imported, which read it once."""

import os
import subprocess
import sys

SAYING = "import flows, os, sys; print(os.environ['OMP_WAIT_POLICY'], os.environ['DO_NOT_TRACK'], *sys.modules)"


def said(**environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "DO_NOT_TRACK")}
    run = [sys.executable, "-c", SAYING]
    return subprocess.run(run, env=kept | environment, capture_output=True, text=True, check=True).stdout.split()


def test_openmp_s_idle_threads_sleep_and_no_usage_is_reported():
    policy, track, *modules = said()
    assert (policy, track) == ("PASSIVE", "1")
    assert not {"torch", "prefect"} & set(modules)


def test_what_a_user_sets_stays():
    assert said(OMP_WAIT_POLICY="ACTIVE", DO_NOT_TRACK="0")[:2] == ["ACTIVE", "0"]
