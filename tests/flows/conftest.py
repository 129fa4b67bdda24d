"""One real server and one real worker for all tests of this folder that need them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from advkd.evaluation import EvalReport, EvaluateSpec
from advkd.evaluation.evaluation import evaluate as evaluate_in_process
from advkd.teachers import EMBEDDED
from tests.advkd.conftest import each_is_timed_once
from tests.advkd.evaluation.parts import gaussian_teacher, make_student
from tests.flows.deployed_home import deployed_home
from tests.flows.machine import Machine, prefect_machine
from tests.s3_server import S3Server

__all__ = ["each_is_timed_once"]


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home to copy from (`copy_database`)."""
    return deployed_home(tmp_path_factory)


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, deployed: Path) -> Iterator[Machine]:
    """Not the session's: its server and its worker take a tenth of a core while nobody needs them."""
    places = {
        "ADVKD_CACHE": str(tmp_path_factory.mktemp("cache")),
        "ADVKD_LOG": str(tmp_path_factory.mktemp("log") / "runs.jsonl"),
    }
    more = s3_server.environment() | places
    with prefect_machine(tmp_path_factory.mktemp("machine"), more, deployed=deployed) as running:
        yield running


@pytest.fixture
def api(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Flows called as plain functions in this process report to the machine's server."""
    monkeypatch.chdir(tmp_path)
    with temporary_settings(updates={PREFECT_API_URL: machine.environment["PREFECT_API_URL"]}):
        yield
        APILogHandler().flush()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EvaluateSpec, EvalReport]]:
    """A tiny student beside its teacher, and what was asked for and found."""
    root = tmp_path_factory.mktemp("evaluated")
    teacher = gaussian_teacher()
    make_student(teacher).save_pretrained(root / "run" / "student")
    spec = EvaluateSpec(
        student=str(root / "run"),
        teacher="one-gaussian",
        out=str(root / "report"),
        references=str(root),
        features="digits",
        samples=32,
        trajectory_samples=16,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "one-gaussian", lambda device: teacher)
        yield spec, evaluate_in_process(spec)
