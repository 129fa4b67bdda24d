"""Fixtures that every test folder may use."""

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadFileScheduling

from storage.objects import PATIENCE, s3
from tests.reaper import watch_this_process
from tests.s3_server import S3Server, serve_s3

# Modules and tests stay until the end, so to look for garbage among them takes a quarter of a collection for nothing.
gc.disable()

# In a shell's background a process ignores Ctrl-C, and with it whatever it starts: tests that interrupt would wait.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A flow that a test runs within its process would have the tests after it wait for servers that are away.
os.environ.setdefault(PATIENCE, "0")

LIVE = {"s3_server", "moto_endpoint", "machine", "deployed", "browser", "fork", "forked", "ranks", "site", "wheel"}
"""Fixtures that start something, directly or for others."""

TOGETHER = (
    # Files whose tests need a Prefect machine, which takes ten seconds to come up: two processes have one each.
    (
        "flows/serving/test_deployments",
        "flows/test_watch",
        "flows/test_requests",
        "flows/doctor/test_doctor",
        "flows/doctor/test_fix",
        "flows/test_evaluate",
        "flows/test_secrets",
        "flows/test_sharing",
        "flows/processes/test_ray",
        "flows/processes/test_ranks",
        "flows/test_root_uri",
        "flows/test_runbook",
    ),
    (
        "flows/test_command",
        "flows/processes/test_supervision",
        "flows/processes/test_server",
        "flows/test_faults",
        "flows/serving/test_serve",
        "flows/processes/test_logs",
        "flows/serving/test_upkeep",
        "flows/serving/test_pools",
    ),
    # Files whose tests fork processes from one that has imported everything, which takes as long.
    (
        "advkd/test_added_rows",
        "advkd/test_classes",
        "advkd/test_latents",
        "advkd/test_prompts",
        "advkd/presets/test_paper",
        "advkd/cli/test_bad_input",
        "advkd/cli/test_foreign_layout",
        "advkd/export/test_artifact",
        "advkd/training/test_checkpoint",
        "advkd/training/test_distributed",
        "advkd/training/test_object_store",
        "advkd/training/test_train_kills",
        "advkd/trajectories/test_kills",
        "advkd/trajectories/test_sharing",
    ),
    # Files that judge one evaluation, which takes as long as their tests.
    ("advkd/registry/test_artifacts", "advkd/registry/test_outages", "advkd/registry/test_tracking"),
    # Files that look at one server with one browser.
    tuple(f"advkd/browse/test_chromium{what}" for what in ("", "_changes", "_honest", "_triage")),
)
"""Files that one process runs one after the other."""

_FIRST = ("flows/", "test_nothing_is_left", "advkd/browse/", "packaging/", "advkd/")
"""What waits for servers and other processes begins before what keeps a core busy."""


def pytest_configure(config: pytest.Config) -> None:
    """Also in each process of `--numprocesses`."""
    watch_this_process()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a server, a browser or other processes are thorough, whether they say so or not."""
    items.sort(key=lambda item: _place(item.nodeid))
    for item in items:
        if LIVE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.thorough)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From now on garbage is looked for, but not among all that was imported and collected."""
    gc.freeze()
    gc.enable()


def _file(nodeid: str) -> str:
    """A test's file below `tests/`, without its ending."""
    return nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")


def _place(nodeid: str) -> int:
    """Where a test stands in the order of all."""
    file = _file(nodeid)
    if any(file in files for files in TOGETHER):
        return 0
    return next((n for n, first in enumerate(_FIRST, 1) if file.startswith(first)), len(_FIRST) + 1)


class Scheduling(LoadFileScheduling):
    """A file is run by one process, and so are files that stand together."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return next((f"together {n}" for n, files in enumerate(TOGETHER) if file in files), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """What `--numprocesses` deals out, in the order of collection, and not the files with the most tests first."""
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
