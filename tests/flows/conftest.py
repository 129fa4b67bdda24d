"""One real server and one real worker for all tests of this folder that need them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.flows.machine import Machine, prefect_machine
from tests.s3_server import S3Server


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Machine]:
    cache = {"ADVKD_CACHE": str(tmp_path_factory.mktemp("cache"))}
    with prefect_machine(tmp_path_factory.mktemp("machine"), s3_server.environment() | cache) as running:
        yield running


@pytest.fixture
def api(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Flows called as plain functions in this process report to the machine's server."""
    monkeypatch.chdir(tmp_path)
    with temporary_settings(updates={PREFECT_API_URL: machine.environment["PREFECT_API_URL"]}):
        yield
        APILogHandler().flush()
