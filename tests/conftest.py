"""Fixtures that every test folder may use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from storage.objects import s3
from tests.reaper import watch_this_process
from tests.s3_server import S3Server, serve_s3

# In a shell's background a process ignores Ctrl-C, and with it whatever it starts: tests that interrupt would wait.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LIVE = {"s3_server", "moto_endpoint", "machine", "deployed", "browser", "fork", "forked", "ranks", "site", "wheel"}
"""Fixtures that start something, directly or for others."""

# Files with tests that need a Prefect machine, which takes half a minute to come up: two processes have one each.
MACHINES = (
    (
        "test_deployments",
        "test_watch",
        "test_requests",
        "test_doctor",
        "test_evaluate",
        "test_secrets",
        "test_sharing",
        "test_ray",
        "test_ranks",
        "test_root_uri",
    ),
    ("test_command", "test_supervision", "test_faults", "test_serve", "test_logs", "test_upkeep", "test_pools"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Also in each process of `--numprocesses`."""
    watch_this_process()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a server, a browser or other processes are thorough, whether they say so or not."""
    for item in items:
        if LIVE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.thorough)


class Scheduling(LoadFileScheduling):
    """A file is run by one process, and the files that share a machine are run by the same."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        path = Path(file)
        sharing = [n for n, names in enumerate(MACHINES) if "flows" in path.parts and path.stem in names]
        return f"machine {sharing[0]}" if sharing else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """What `--numprocesses` deals out, in the order of pyproject's `testpaths`: those who wait longest begin first."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with authentication, one per test process."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a root in a fresh bucket, with the AWS variables set to reach it.

    Between attempts this process pauses a tenth as long as people would want: 0.3 s of 3 where nothing gets through.
    """
    monkeypatch.setattr(s3, "_FIRST_PAUSE_SECONDS", 0.1 * s3._FIRST_PAUSE_SECONDS)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.make_bucket() + "/stores"
