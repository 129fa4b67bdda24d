"""`advkd browse` as people start it: a process on a free port, ended whatever happens; and a browser to look with."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reaper import die_with_parent
from tests.s3_server import end

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def served(*arguments: str, **environment: str) -> Iterator[str]:
    """The address of a server, without a slash at its end."""
    command = [sys.executable, "-m", "advkd", "browse", *arguments, "--port", "0", "--no-open"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[3],
        preexec_fn=die_with_parent,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "`advkd browse` did not start"
        yield address.rstrip("/")
    finally:
        end(process, patience=10)
        if process.stdout is not None:
            process.stdout.close()


def chromium() -> str:
    """Its path; where there is none, tests are skipped, but not in CI, which installs it."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium, and found none; `.ci/run` installs it")
        pytest.skip("no Chromium here: apt-get install chromium")
    return found
