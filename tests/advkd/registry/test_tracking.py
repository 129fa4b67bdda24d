import hashlib
import socket
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from diffusers import DiffusionPipeline

from advkd.evaluation import results, worth_sentence
from advkd.evaluation.errors import EvaluationError
from advkd.export import artifact_digest
from advkd.export.lineage import lineage_of
from advkd.registry.tracking import RegisteredModel, RegisterSpec, register
from advkd.registry.versions import DIGEST_TAG, open_registry, quiet
from advkd.students.loading import student_files
from advkd.teachers import EMBEDDED
from advkd.trajectories import PrecomputeSpec, precompute
from storage.records import author
from tests.advkd.cli.calls import Cli
from tests.advkd.evaluation.parts import Evaluated, gaussian_teacher, make_student
from tests.advkd.registry.candidates import candidate

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def quiet_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def refuse(self: socket.socket, address: object) -> NoReturn:
        raise AssertionError(f"network traffic to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_champion_moves_only_when_the_gate_says_so(
    evaluated: Evaluated, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def submit(seed: int, fd: float, recall: float) -> RegisteredModel:
        student, report = candidate(tmp_path / str(seed), evaluated.report, seed, fd, recall)
        out = str(tmp_path / f"artifact-{seed}")
        return register(RegisterSpec(student=str(student), report=str(report), out=out, runs=str(runs), model="gated"))

    first, worse, better, blind = (
        submit(1, 20.0, 0.8),
        submit(2, 25.0, 0.9),
        submit(3, 15.0, 0.8),
        submit(4, 5.0, 0.5),
    )
    # Not a word, although the first of them creates the database.
    assert capfd.readouterr() == ("", "")
    assert [model.version for model in (first, worse, better, blind)] == [1, 2, 3, 4]
    assert [model.alias for model in (first, worse, better, blind)] == [
        "champion",
        "challenger",
        "champion",
        "challenger",
    ]
    assert first.reason == "there was no champion"
    assert worse.reason.startswith("FD is worse")
    assert blind.reason.startswith("recall is worse by more than 0.02")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    assert client.get_model_version_by_alias("gated", "champion").version == better.version
    assert client.get_model_version_by_alias("gated", "challenger").version == blind.version


def test_a_run_is_logged_whole_and_the_version_loads(
    evaluated: Evaluated, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = RegisterSpec(
        student=evaluated.spec.student, report=str(evaluated.folder), out=str(tmp_path / "artifact"), runs=str(runs)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = register(spec)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert made == RegisteredModel(
        name="advkd-gaussian",
        version=1,
        alias="champion",
        uri=made.uri,
        run_id=made.run_id,
        created=True,
        decided=True,
        reason="there was no champion",
    )
    pipe = DiffusionPipeline.from_pretrained(made.uri, custom_pipeline=made.uri, trust_remote_code=True)
    assert type(pipe).__name__ == "AdvKDPipeline"
    from mlflow import MlflowClient
    from mlflow.models import Model, ModelSignature

    run = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}").get_run(made.run_id)
    assert run.info.status == "FINISHED"
    report, distances = evaluated.report, evaluated.report.headline
    assert distances is not None
    assert run.data.metrics["digits.fd_to_teacher"] == distances.to_teacher.fd.value
    assert run.data.metrics["digits.worth"] == run.data.metrics["worth"] == distances.worth.passes
    assert distances.worth_ddim is not None
    assert run.data.metrics["digits.worth_ddim"] == distances.worth_ddim.passes
    assert run.data.metrics["digits.fd_deviation"] == distances.to_teacher.fd.deviation
    assert run.data.params["teacher_fingerprint"] == evaluated.report.teacher_fingerprint
    assert run.data.tags["mlflow.user"] == author()
    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    version = client.get_model_version(made.name, "1")
    assert version.tags["mlflow.user"] == author()
    fd = distances.to_teacher.fd
    for words in (
        worth_sentence(report.worth),
        f"{fd.name} to {fd.reference}: {fd.value:.3g}, of {report.samples} images.",
        f"Size: {report.cost.student.params:,} parameters, ",
        f"(get-artifact?path=report/samples.png&run_uuid={made.run_id})",
    ):
        assert words in version.description
    described = client.get_registered_model(made.name).description
    assert described == f"One-pass students of gaussian. The champion is version 1.\n\n{version.description}"
    signature = ModelSignature.from_dict(Model.load(made.uri).to_dict()["signature"])
    assert signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 1, 16, 16)}
    assert artifact_digest(made.uri) == version.tags[DIGEST_TAG]
    logged = Path(made.uri).parent / "report"
    assert {path.name for path in logged.iterdir()} == {
        "metrics.json",
        "report.html",
        "samples.png",
        "strips.png",
        "strips-clean.png",
    }


def test_few_images_have_no_worth_anywhere(
    evaluated: Evaluated, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setattr(results, "COMPARABLE_SAMPLES", 2000)
    made = register(registration(evaluated, tmp_path, runs, "few"))
    told = "Not comparable: 160 images"
    assert made.alias == "challenger"
    assert not [key for key, value in flat(evaluated.report.summary()) if "worth" in key and value is not None]
    with quiet():
        client = open_registry(str(runs))
        assert not [name for name in client.get_run(made.run_id).data.metrics if "worth" in name or "ratio" in name]
        description = client.get_model_version("few", "1").description
        assert client.get_registered_model("few").description.endswith("There is no champion yet.")
    card = (Path(made.uri) / "README.md").read_text()
    listed = cli("registry", "ls", "few", "--runs", str(runs)).out
    shown = cli("registry", "show", "few", "challenger", "--runs", str(runs)).out
    for text in (description, card, listed, shown):
        assert told.lower() in text.lower()
        assert "passes of the teacher" not in text
        assert "is worth" not in text
    assert "figures.worth" not in shown
    assert "metrics.worth" not in shown


def flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def registration(evaluated: Evaluated, tmp_path: Path, runs: Path, model: str) -> RegisterSpec:
    return RegisterSpec(
        student=evaluated.spec.student,
        report=str(evaluated.folder),
        out=str(tmp_path / "artifact"),
        runs=str(runs),
        model=model,
    )


def test_the_same_artifact_is_registered_once(evaluated: Evaluated, runs: Path, tmp_path: Path) -> None:
    spec = registration(evaluated, tmp_path, runs, "once")
    first = register(spec)
    assert register(spec) == replace(first, created=False, decided=False)


def test_an_interrupted_registration_is_finished_by_the_next_call(
    evaluated: Evaluated, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    spec = registration(evaluated, tmp_path, runs, "interrupted")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            register(spec)
    finished = register(spec)
    assert (finished.version, finished.alias, finished.created, finished.decided) == (1, "champion", False, True)
    assert finished.reason == "there was no champion"
    assert register(spec) == replace(finished, decided=False)


def test_a_model_that_lost_its_champion_gets_a_new_one(evaluated: Evaluated, runs: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    def submit(seed: int) -> RegisteredModel:
        student, report = candidate(tmp_path / str(seed), evaluated.report, seed, 20.0 + seed, 0.8)
        out = str(tmp_path / f"artifact-{seed}")
        return register(RegisterSpec(student=str(student), report=str(report), out=out, runs=str(runs), model="lost"))

    submit(1)
    MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}").delete_registered_model_alias("lost", "champion")
    assert submit(2).reason == "there was no champion"


def test_a_given_tracking_uri_wins(
    evaluated: Evaluated, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = registration(evaluated, tmp_path, tmp_path / "unused", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    assert register(spec).version == 1
    assert not (tmp_path / "unused").exists()


def test_a_report_of_another_student_is_refused(evaluated: Evaluated, runs: Path, tmp_path: Path) -> None:
    student, _ = candidate(tmp_path / "other", evaluated.report, 9, 1.0, 1.0)
    spec = RegisterSpec(
        student=str(student), report=str(evaluated.folder), out=str(tmp_path / "artifact"), runs=str(runs)
    )
    with pytest.raises(EvaluationError, match=r"a report must be of the student .*; evaluate this student"):
        register(spec)
    assert not (tmp_path / "artifact").exists()


def test_a_registration_needs_a_finished_evaluation(evaluated: Evaluated, tmp_path: Path) -> None:
    spec = RegisterSpec(student=evaluated.spec.student, report=str(tmp_path), out=str(tmp_path / "artifact"))
    with pytest.raises(EvaluationError, match=r"got no metrics.json in .*; run `advkd evaluate` first"):
        register(spec)


def test_the_store_in_the_lineage_is_of_the_report_s_teacher(evaluated: Evaluated, tmp_path: Path) -> None:
    spec = PrecomputeSpec(
        teacher="gaussian", store=str(tmp_path), samples=8, block_samples=8, shard_samples=8, captures=4
    )
    store = precompute(spec)
    lineage = lineage_of(evaluated.spec.student, evaluated.report, store.uri)
    assert lineage.store_digest == store.digest
    assert lineage.store == "/".join(Path(store.uri).parts[-2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "thinner", lambda device: gaussian_teacher(dims=5))
        other = precompute(replace(spec, teacher="thinner"))
    with pytest.raises(EvaluationError, match="must be evaluated against the teacher of its store"):
        lineage_of(evaluated.spec.student, evaluated.report, other.uri)


def test_a_negative_margin() -> None:
    with pytest.raises(ValueError, match=r"RegisterSpec.recall_margin must not be negative, got -0.5"):
        RegisterSpec(student="a", report="b", out="c", recall_margin=-0.5)


def test_a_version_without_distances_is_registered_and_makes_way(
    evaluated: Evaluated, runs: Path, tmp_path: Path
) -> None:
    def submit(seed: int, *, measured: bool) -> RegisteredModel:
        report = evaluated.report if measured else replace(evaluated.report, distances=())
        folder = tmp_path / str(seed)
        make_student(gaussian_teacher(), seed=seed).save_pretrained(folder / "student")
        sha256 = hashlib.sha256(student_files(folder).weights.read_bytes()).hexdigest()
        (folder / "report").mkdir()
        (folder / "report" / "metrics.json").write_text(replace(report, student_sha256=sha256).to_json())
        return register(
            RegisterSpec(
                student=str(folder),
                report=str(folder / "report"),
                out=str(folder / "model"),
                runs=str(runs),
                model="unmeasured",
            )
        )

    assert submit(1, measured=False).alias == "challenger"
    assert submit(2, measured=True).reason == "there was no champion"
    last = submit(3, measured=False)
    assert (last.alias, last.reason) == (
        "challenger",
        "not comparable: it was evaluated without features; evaluate it with --features",
    )
    assert "No distances: no extractor was chosen" in (Path(last.uri) / "README.md").read_text()
    with quiet():
        metrics = open_registry(str(runs)).get_run(last.run_id).data.metrics
    assert "student.params" in metrics
    assert not [name for name in metrics if "worth" in name or "fd" in name]
