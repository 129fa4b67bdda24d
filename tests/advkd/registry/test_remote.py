"""A tracking server elsewhere, as a real process: artifacts go through it to S3, and it may fall silent or ask who."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from advkd.evaluation import EvalReport
from advkd.registry import tracking
from advkd.registry.fetching import student_folder
from advkd.registry.listing import details, difference, overview
from advkd.registry.promotion import roll_back
from advkd.registry.tracking import RegisteredModel, RegisterSpec, register
from advkd.registry.versions import RegistryError, answering, existing_registry, quiet
from advkd.students import load_student, student_files
from storage import digest
from storage.testing.trajectories import fill
from tests.advkd.browse.served import served
from tests.advkd.browse.specs import image_spec
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.registry.candidates import candidate
from tests.mlflow_server import MlflowServer, needs, serve_mlflow
from tests.postgres_server import serve_postgres
from tests.s3_server import S3Server

pytestmark = [pytest.mark.thorough, pytest.mark.slow]


def storage_of_server(s3: S3Server) -> dict[str, str]:
    unchecked = dict.fromkeys(("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"), "when_required")
    return {**s3.environment(), **unchecked, "MLFLOW_S3_ENDPOINT_URL": s3.endpoint}


@pytest.fixture
def remote(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """A server on SQLite; we know nothing of its bucket."""
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    options = ("--backend-store-uri", f"sqlite:///{tmp_path}/db", "--artifacts-destination", s3_server.make_bucket())
    with serve_mlflow(tmp_path / "server", *options, environment=storage_of_server(s3_server)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


def submit(folder: Path, report: EvalReport, seed: int, fd: float) -> RegisteredModel:
    student, judged = candidate(folder / str(seed), report, seed, fd, 0.8)
    out = str(folder / f"artifact-{seed}")
    return register(
        RegisterSpec(student=str(student), report=str(judged), out=out, runs=str(folder / "runs"), model="m")
    )


def test_everything_works_behind_a_server_and_a_version_is_read_back(
    remote: MlflowServer, evaluated: Evaluated, tmp_path: Path, cli: Cli
) -> None:
    first, worse, better = (
        submit(tmp_path, evaluated.report, seed, fd) for seed, fd in ((1, 20.0), (2, 25.0), (3, 15.0))
    )
    assert [model.alias for model in (first, worse, better)] == ["champion", "challenger", "champion"]
    assert first.uri.startswith("mlflow-artifacts:")
    with answering(), quiet():
        client = existing_registry("unused")
        assert [version.state for version in overview(client, "m")] == ["champion", "challenger", "-"]
        assert details(client, "m", "champion")["artifact"] == "as registered"
        assert difference(client, "m", "1", "3")["differs"]["figures.fd"] == [20.0, 15.0]
        assert roll_back(client, "m", "streaks").version == 1
    read = student_folder("models:/m@champion", "unused")
    ours = student_files(tmp_path / "1")
    assert student_files(read).weights.read_bytes() == ours.weights.read_bytes()
    assert not [path for path in read.rglob("*") if path.suffix == ".py"]
    load_student(read)
    # Once: what is there and whole is not asked for again.
    inode = student_files(read).weights.stat().st_ino
    assert student_files(student_folder("models:/m@champion", "unused")).weights.stat().st_ino == inode
    student_files(read).weights.write_bytes(b"damaged")
    assert (
        student_files(student_folder("models:/m@champion", "unused")).weights.read_bytes() == ours.weights.read_bytes()
    )
    seen = load_student(read)
    spec = image_spec(
        sample_shape=seen.sample_shape, timesteps=seen.timesteps, signal=seen.config.signal, sigma=seen.config.sigma
    )
    fill(str(tmp_path / "stores"), spec, 32)
    with served(str(tmp_path / "stores"), "--student", "models:/m@champion", "--student", str(tmp_path / "1")) as page:
        shown = [httpx.get(f"{page}/api/sheet/{digest(spec)[:16]}~{k}?samples=0-7&t=0").content for k in range(2)]
    assert shown[0] == shown[1] != b""
    assert json.loads(cli("registry", "ls", "--json").out)[0]["state"] == "rolled back"
    assert not (tmp_path / "runs").exists()
    # As others do, with MLflow alone, and then with diffusers.
    from diffusers import DiffusionPipeline
    from mlflow.artifacts import download_artifacts

    with quiet():
        fetched = download_artifacts(artifact_uri="models:/m@champion", dst_path=str(tmp_path / "others"))
    pipe = DiffusionPipeline.from_pretrained(fetched, custom_pipeline=fetched, trust_remote_code=True)
    assert type(pipe).__name__ == "AdvKDPipeline"


def test_a_server_that_dies_in_mid_registration_leaves_no_version(
    remote: MlflowServer, evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    logged = tracking._log_folder

    def dying(*arguments: object) -> None:
        logged(*arguments)  # type: ignore[arg-type]
        remote.stop()

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_log_folder", dying)
        with pytest.raises(RegistryError, match="the registry must answer"), answering(), quiet():
            submit(tmp_path, evaluated.report, 1, 20.0)
    assert_refused(cli("registry", "ls"), "the registry must answer", "check MLFLOW_TRACKING_URI")
    remote.start()
    with answering(), quiet():
        assert existing_registry("unused").search_registered_models() == []
    student, report, out = tmp_path / "1", tmp_path / "1" / "report", str(tmp_path / "artifact-1")
    made = register(RegisterSpec(student=str(student), report=str(report), out=out, model="m"))
    assert (made.version, made.alias) == (1, "champion")


def test_a_server_that_asks_who_is_told_by_variables_and_its_password_stays_out_of_errors(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    needs("flask_wtf")
    settings = tmp_path / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\nadmin_password = MARKED-secret-1\n"
        f"database_uri = sqlite:///{tmp_path}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    told = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32}
    options = ("--app-name", "basic-auth", "--backend-store-uri", f"sqlite:///{tmp_path}/db")
    options += ("--artifacts-destination", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with serve_mlflow(tmp_path / "server", *options, environment=told) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert_refused(cli("registry", "ls"), "the registry must answer")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "MARKED-wrong-2")
        refused = cli("registry", "ls")
        assert_refused(refused, "the registry must answer")
        assert "MARKED" not in refused.err + refused.out
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "MARKED-secret-1")
        assert submit(tmp_path, evaluated.report, 1, 20.0).alias == "champion"
        assert "MARKED" not in cli("registry", "show", "m").out


def test_a_database_of_an_older_mlflow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = tmp_path / "runs"
    from advkd.registry.versions import DATABASE, open_registry

    with quiet():
        open_registry(str(runs)).search_registered_models()
    with closing(sqlite3.connect(runs / DATABASE)) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()
    # At another place: this process keeps open what it has opened.
    refused = cli("registry", "ls", "--runs", runs.rename(tmp_path / "older"))
    assert_refused(refused, "the registry's database is of another MLflow", "mlflow db upgrade")


def test_a_registry_in_postgresql(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    needs("psycopg")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / ".venv" / "services"))
    monkeypatch.chdir(tmp_path)
    with serve_postgres() as postgres:
        name = postgres.make_database()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.url(name).replace("postgresql:", "postgresql+psycopg:"))
        assert submit(tmp_path, evaluated.report, 1, 20.0).alias == "champion"
        assert submit(tmp_path, evaluated.report, 2, 15.0).version == 2
        assert "version 1 (it was version 2)" in cli("registry", "rollback", "m").out
        wrong = postgres.url(name, "MARKED-wrong").replace("postgresql:", "postgresql+psycopg:")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", wrong)
        refused = cli("registry", "ls")
        assert_refused(refused, "that answers, but it said", "password authentication failed")
        assert "MARKED" not in refused.err
