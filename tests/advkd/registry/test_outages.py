"""A registry that does not answer, or whose disk is full: nothing is half registered, and the next call goes on."""

from pathlib import Path
from typing import NoReturn

import pytest

from advkd.registry.tracking import RegisteredModel, RegisterSpec, register
from advkd.registry.versions import RegistryError
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.registry.candidates import candidate

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(autouse=True)
def registry_of_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "PERMISSION_DENIED"])
def test_a_registry_that_does_not_answer_promotes_and_makes_nothing(
    code: str, evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    def submit(seed: int, fd: float, model: str) -> RegisteredModel:
        folder = tmp_path / f"{model}-{seed}"
        student, report = candidate(folder, evaluated.report, seed, fd, 0.8)
        out = str(folder / "artifact")
        return register(RegisterSpec(student=str(student), report=str(report), out=out, runs=str(runs), model=model))

    def fail(*arguments: object) -> NoReturn:
        raise MlflowException("try again", ErrorCode.Value(code))

    runs = tmp_path / "runs"
    known, unknown = f"known-{code}", f"unknown-{code}"
    champion = submit(1, 20.0, known)
    with monkeypatch.context() as outage:
        for question in ("get_registered_model", "get_model_version_by_alias"):
            outage.setattr(MlflowClient, question, fail)
        for model in (known, unknown):
            with pytest.raises(RegistryError, match=rf"must answer, but it said {code} \(try again\)") as said:
                # Worse than the champion, so only a registry that seems empty would promote it.
                submit(2, 25.0, model)
            # A run tries again after what may pass.
            assert isinstance(said.value, ConnectionError) == (code != "PERMISSION_DENIED")
    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    assert client.get_model_version_by_alias(known, "champion").version == champion.version
    assert len(client.search_model_versions(f"name = '{known}'")) == 1
    assert not client.search_registered_models(f"name = '{unknown}'")


FULL = (
    # As MLflow says it, with the database on a small file system that was filled.
    "(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO experiments (name) VALUES (?)]",
    "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)\n"
    '(psycopg.errors.DiskFull) could not extend file "base/1/2": No space left on device\n[SQL: INSERT INTO runs]',
)


@pytest.mark.parametrize("message", FULL)
def test_a_full_disk_of_the_database_is_named_and_the_next_call_goes_on(
    message: str, evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    runs, out = tmp_path / "runs", str(tmp_path / "artifact")
    student, report = candidate(tmp_path / "1", evaluated.report, 1, 20.0, 0.8)
    spec = RegisterSpec(student=str(student), report=str(report), out=out, runs=str(runs), model="full")

    def fail(*arguments: object, **named: object) -> NoReturn:
        raise MlflowException(message)

    with monkeypatch.context() as outage:
        outage.setattr(MlflowClient, "create_model_version", fail)
        with pytest.raises(
            RegistryError, match=r"must have space, but it said \(.*; free some where its database and artifacts lie"
        ) as said:
            register(spec)
    assert "[SQL" not in str(said.value)
    assert (register(spec).version, register(spec).created) == (1, False)
