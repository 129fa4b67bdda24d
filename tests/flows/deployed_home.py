"""A Prefect home that is migrated and deployed already: made once per test run, copied for each server of its tests.

A first start migrates for nine seconds of a core, and a deployment imports every flow: half a minute in all.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.processes import server
from flows.processes.server import own_server
from flows.serving.deploying import deploy
from tests.made_once import made_once

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = "ADVKD_DEPLOYED_HOME"
"""Names the folder to the tests of a test, which need not make it again."""


def clean_environment() -> dict[str, str]:
    """This process's, without settings of a Prefect server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def deployed_home(places: pytest.TempPathFactory) -> Path:
    """The folder to copy from; of several test processes the first makes it, and the others wait."""
    if PLACE in os.environ:
        return Path(os.environ[PLACE])
    return made_once(places, "deployed-home", deploy_in)


def copy_database(template: Path, home: Path) -> None:
    """Gives a server's home, new or not, the database of another whose server has ended."""
    home.mkdir(parents=True, exist_ok=True)
    for file in template.glob("prefect.db*"):
        shutil.copyfile(file, home / file.name)


def deploy_in(home: Path) -> None:
    """Starts a server with this home, deploys, and ends it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        own_server(home, "--no-services", "--no-ui") as ready,
    ):
        # Where other work has the cores, a first start takes minutes.
        patch.setattr(server, "_START_SECONDS", 480.0)
        with deploying_to(ready(), home):
            assert deploy() == 0


@contextlib.contextmanager
def deploying_to(url: str, home: Path) -> Iterator[None]:
    """Has `deploy`, and the command that it starts, talk to a server and no other."""
    with temporary_settings(updates={PREFECT_API_URL: url}), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        patch.setenv("PREFECT_API_URL", url)
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        yield
