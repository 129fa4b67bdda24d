"""`advkd browse` as people start it: a process on a free port, ended whatever happens; and a browser to look with."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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
def served(
    *arguments: str, descriptors: int | None = None, log: IO[str] | None = None, **environment: str
) -> Iterator[str]:
    """The address of a server, without a slash at its end; `descriptors` limits its files, `log` takes its stderr."""

    def prepare() -> None:
        die_with_parent()
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    command = [sys.executable, "-m", "advkd", "browse", *arguments, "--port", "0", "--no-open"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[3],
        preexec_fn=prepare,
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
