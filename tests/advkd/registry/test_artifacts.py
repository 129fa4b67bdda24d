"""Artifacts that are not where the registry says: deleted, changed, or moved with their root."""

import shutil
from pathlib import Path

import pytest

from advkd.registry.artifacts import what_is_wrong
from advkd.registry.fetching import student_folder
from advkd.registry.listing import broken_champions, details, overview
from advkd.registry.tracking import RegisteredModel, RegisterSpec, register
from advkd.registry.versions import DATABASE, RegistryError, open_registry, quiet, versions_of
from advkd.students import load_student
from tests.advkd.evaluation.parts import Evaluated

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(autouse=True)
def registry_of_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def submit(evaluated: Evaluated, root: Path) -> RegisteredModel:
    out, report = str(root / "model"), evaluated.spec.out
    return register(
        RegisterSpec(student=evaluated.spec.student, report=report, out=out, runs=str(root / "runs"), model="m")
    )


def states(root: Path) -> list[str]:
    with quiet():
        return [version.state for version in overview(open_registry(str(root / "runs")), "m")]


@pytest.mark.thorough
def test_an_artifact_that_is_gone_is_said_and_logged_again(evaluated: Evaluated, tmp_path: Path) -> None:
    first = submit(evaluated, tmp_path)
    runs, folder = str(tmp_path / "runs"), Path(first.uri)
    weights = folder / "student" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    with quiet():
        client = open_registry(runs)
        (version,) = versions_of(client, "m")
        assert (what_is_wrong(client, version, contents=True), broken_champions(client)) == ("", [])
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert what_is_wrong(client, version, contents=True) == "changed"
        assert details(client, "m", "champion")["artifact"] == "changed"
        assert what_is_wrong(client, version, contents=False) == ""
        shutil.rmtree(folder)
        assert what_is_wrong(client, version, contents=False) == "gone"
        (said,) = broken_champions(client)
        assert said == f"m version 1, the champion: its artifact is gone ({folder})"
    assert states(tmp_path) == ["champion, artifact gone"]
    with pytest.raises(RegistryError, match=r"that of models:/m@champion is gone: .*; put its folder back, or run"):
        student_folder("models:/m@champion", runs)

    again = submit(evaluated, tmp_path)
    assert (again.version, again.created, again.alias) == (2, True, "champion")
    assert states(tmp_path) == ["champion", "artifact gone"]
    load_student(student_folder("models:/m@champion", runs))
    assert submit(evaluated, tmp_path).version == 2


@pytest.mark.slow
def test_a_root_that_was_moved_is_followed_by_what_reads_and_by_what_writes(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    old, new = tmp_path / "old ?#%", tmp_path / "new"
    first = submit(evaluated, old)
    old.rename(new)
    runs = str(new / "runs")
    moved = Path(first.uri.replace(str(old), str(new)))
    assert student_folder("models:/m@champion", runs) == moved
    with quiet():
        assert details(open_registry(runs), "m", "champion")["uri"] == str(moved)
    assert submit(evaluated, new).version == 1
    shutil.rmtree(moved)
    again = submit(evaluated, new)
    assert again.version == 2
    assert Path(again.uri).is_relative_to(new)
    assert not old.exists()


@pytest.mark.slow
def test_a_deleted_run_or_experiment_stops_nobody(evaluated: Evaluated, tmp_path: Path) -> None:
    first = submit(evaluated, tmp_path)
    with quiet():
        client = open_registry(str(tmp_path / "runs"))
        experiment = client.get_run(first.run_id).info.experiment_id
        client.delete_run(first.run_id)
        client.delete_experiment(experiment)
        assert details(client, "m", "1")["artifact"] == "as registered"
    shutil.rmtree(first.uri)
    assert submit(evaluated, tmp_path).version == 2
    with quiet():
        assert client.get_experiment(experiment).lifecycle_stage == "active"


@pytest.mark.thorough
def test_a_registry_makes_nothing_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow makes the folders of what it takes for a database's path; a worker's folder may not be writable."""
    here, runs = tmp_path / "here", tmp_path / "runs ?#%"
    here.mkdir()
    monkeypatch.chdir(here)
    with quiet():
        assert overview(open_registry(str(runs)), "m") == []
    assert ([*here.iterdir()], [path.name for path in runs.iterdir()]) == ([], [DATABASE])
