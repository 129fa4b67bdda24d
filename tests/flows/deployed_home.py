"""A Prefect home that is migrated and deployed already: made once per test run, copied for each server of its tests.

A first start migrates for nine seconds of a core, and a deployment imports every flow: half a minute in all.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.processes.server import own_server

CHECKOUT = Path(__file__).resolve().parents[2]


def clean_environment() -> dict[str, str]:
    """This process's, without settings of a Prefect server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def deployed_home(places: pytest.TempPathFactory) -> Path:
    """The folder to copy from; of several test processes the first makes it, and the others wait."""
    several = "PYTEST_XDIST_WORKER" in os.environ
    shared = places.getbasetemp().parent if several else places.getbasetemp()
    home = shared / "deployed-home"
    with (shared / "deployed-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            unfinished = shared / "deployed-home.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            deploy_in(unfinished)
            unfinished.rename(home)
    return home


def copy_database(template: Path, home: Path) -> None:
    """Gives a server's home, new or not, the database of another whose server has ended."""
    home.mkdir(parents=True, exist_ok=True)
    for file in template.glob("prefect.db*"):
        shutil.copyfile(file, home / file.name)


def deploy_in(home: Path) -> None:
    """Starts a server with this home, deploys, and ends it."""
    with own_server(home, "--no-services", "--no-ui") as ready:
        said = {"PREFECT_HOME": str(home), "PREFECT_API_URL": ready(), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "flows.deploy"],
            cwd=CHECKOUT,
            env=clean_environment() | said,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout
