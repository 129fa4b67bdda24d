"""`advkd registry ls|show|promote|rollback|diff` as typed, for people and for machines."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from advkd.registry.tracking import RegisterSpec, register
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.registry.candidates import candidate


@pytest.fixture(scope="module")
def runs(evaluated: Evaluated, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A champion, a challenger that is worse, and a better champion."""
    root = tmp_path_factory.mktemp("registry")
    for seed, fd in ((1, 20.0), (2, 25.0), (3, 15.0)):
        student, report = candidate(root / str(seed), evaluated.report, seed, fd, 0.8)
        out, registry = str(root / f"artifact-{seed}"), str(root / "runs")
        register(RegisterSpec(student=str(student), report=str(report), out=out, runs=registry, model="m"))
    return str(root / "runs")


@pytest.mark.thorough
def test_the_commands_show_and_move_the_champion(runs: str, cli: Cli) -> None:
    def states() -> dict[int, str]:
        return {one["version"]: one["state"] for one in json.loads(cli("registry", "ls", "--runs", runs, "--json").out)}

    assert states() == {1: "-", 2: "challenger", 3: "champion"}
    listed = cli("registry", "ls", "m", "--runs", runs).out.splitlines()
    expected = [["m", "3", "champion"], ["m", "2", "challenger"], ["m", "1", "-"]]
    assert [line.split()[:3] for line in listed[1:]] == expected
    assert "not worse than the champion" in listed[1]

    loser = json.loads(cli("registry", "show", "m", "challenger", "--runs", runs, "--json").out)
    assert (loser["version"], loser["figures"]["fd"]) == (2, 25.0)
    report = Path(loser["report"].removeprefix("file://"))
    assert (report.parent / "metrics.json").is_file()
    shown = cli("registry", "show", "m", "--runs", runs)
    assert Path(shown.uri, "model_index.json").is_file()
    assert "took over from" in shown.out

    assert "m: version 1 (it was version 3)" in cli("registry", "rollback", "m", "--why", "streaks", "--runs", runs).out
    assert states() == {1: "champion", 2: "challenger", 3: "rolled back"}
    assert "streaks" in cli("registry", "show", "m", "3", "--runs", runs).out
    moved = cli("registry", "promote", "m", "3", "--runs", runs, "--json")
    assert json.loads(moved.out) == {"model": "m", "champion": 3, "before": 1}
    assert states() == {1: "-", 2: "challenger", 3: "champion"}

    differs = json.loads(cli("registry", "diff", "m", "--runs", runs, "--json").out)
    assert differs["differs"]["figures.fd"] == [15.0, 25.0]
    assert "lineage.teacher" not in differs["differs"]
    assert differs["gate"].startswith("FD is worse than the champion's")
    told = cli("registry", "diff", "m", "1", "3", "--runs", runs).out
    assert "the gate, 3 against 1: not worse than the champion" in told


@pytest.mark.thorough
def test_publishing_lists_first_and_uploads_when_told(runs: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, str] = {}

    class Hub:
        def create_repo(self, repository: str, exist_ok: bool) -> None:
            uploaded["repository"] = repository

        def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
            uploaded["card"] = (folder_path / "README.md").read_text()

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    asked = ("registry", "publish", "models:/m@challenger", "owner/name", "--runs", runs)
    listed = cli(*asked)
    assert listed.code == 0, listed.err
    assert "would upload 7 files to https://huggingface.co/owner/name" in listed.out
    assert uploaded == {}
    done = cli(*asked, "--license", "apache-2.0", "--base-model", "google/ddpm-cat-256", "--yes", "--json")
    assert json.loads(done.out)["uploaded"]
    assert "student/diffusion_pytorch_model.safetensors" in json.loads(done.out)["files"]
    card = ModelCard(uploaded["card"])
    assert (uploaded["repository"], card.data.license, card.data.base_model) == (
        "owner/name",
        "apache-2.0",
        "google/ddpm-cat-256",
    )
    assert card.data.library_name == "diffusers"
    kinds = {result.metric_type: result for result in card.data.eval_results}
    assert {"fd", "kd", "recall"} <= set(kinds)
    assert "160 noises from" in kinds["fd"].dataset_name
    assert_refused(cli(*asked[:3], "name", "--runs", runs), "is named owner/name, got 'name'")
    assert_refused(cli(*asked[:2], runs, "owner/name"), "a version is a folder with README.md, got none")


@pytest.mark.thorough
def test_what_is_not_there_is_refused(runs: str, cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("registry", "show", "nothing", "--runs", runs), "a model must be registered", "are: m")
    assert_refused(cli("registry", "ls", "nothing", "--runs", runs), "a model must be registered", "are: m")
    assert_refused(cli("registry", "promote", "m", "9", "--runs", runs), "got '9'; choose one of 1, 2, 3, challenger")
    assert_refused(cli("registry", "rollback", "m", "--to", "9", "--runs", runs), "got '9'; choose one of")
    assert_refused(cli("registry", "diff", "m", "1", "next", "--runs", runs), "got 'next'; choose one of")
    empty = cli("registry", "ls", "--runs", tmp_path)
    assert_refused(empty, "a registry is a folder with mlflow.db, got none", "MLFLOW_TRACKING_URI")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mysql+nodriver://me:hidden@host/name", "a registry must be a database of MLflow that answers"),
        ("ftp:/x", "check MLFLOW_TRACKING_URI"),
    ],
)
def test_a_registry_of_no_kind_says_so(uri: str, told: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    refused = cli("registry", "ls")
    assert_refused(refused, told)
    assert "hidden" not in refused.err


def test_a_registry_file_that_is_none_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("hello")
    assert_refused(cli("registry", "ls", "--runs", tmp_path), "that answers, but it said", "file is not a database")


def test_a_registry_that_does_not_answer_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hidden@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    refused = cli("registry", "ls")
    assert_refused(refused, "the registry must answer", "check MLFLOW_TRACKING_URI")
    assert "hidden" not in refused.err
