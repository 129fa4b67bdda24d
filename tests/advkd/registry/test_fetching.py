"""Where students are taken from: folders, S3, the registry; code and pickles are never fetched."""

from pathlib import Path

import pytest

from advkd.registry.fetching import student_folder
from advkd.registry.versions import RegistryError, open_registry, quiet
from advkd.students.loading import StudentError, load_student, student_files
from storage import delete, join, list_prefix, write_bytes
from tests.advkd.evaluation.parts import gaussian_teacher, make_student

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """As the registry keeps one: the student below, and code that must stay where it is."""
    folder = tmp_path / "artifact"
    make_student(gaussian_teacher(), seed=3).save_pretrained(folder / "student")
    (folder / "pipeline.py").write_text("raise SystemExit")
    (folder / "student" / "layerwise_student.py").write_text("raise SystemExit")
    (folder / "student" / "optimizer.bin").write_bytes(b"pickle")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder: Path, uri: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            write_bytes(join(uri, path.relative_to(folder).as_posix()), path.read_bytes())


def same_weights(one: Path, other: Path) -> bool:
    return student_files(one).weights.read_bytes() == student_files(other).weights.read_bytes()


def test_s3_gives_config_and_weights_once_and_nothing_else(artifact: Path, cache: Path, s3_root: str) -> None:
    uri = join(s3_root, "artifact")
    put(artifact, uri)
    found = student_folder(uri, "runs")
    assert found.is_relative_to(cache / "students")
    fetched = sorted(path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file())
    assert fetched == ["student/config.json", "student/diffusion_pytorch_model.safetensors"]
    assert same_weights(found, artifact)
    load_student(found)
    # A copy that was damaged is fetched again, one that was not is not.
    inode = student_files(found).weights.stat().st_ino
    assert student_files(student_folder(uri, "runs")).weights.stat().st_ino == inode
    student_files(found).weights.write_bytes(b"damaged")
    assert same_weights(student_folder(uri, "runs"), artifact)


def test_another_student_at_the_same_place_is_another_folder(artifact: Path, cache: Path, s3_root: str) -> None:
    uri = join(s3_root, "artifact")
    put(artifact / "student", uri)
    before = student_folder(uri, "runs")
    make_student(gaussian_teacher(), seed=4).save_pretrained(artifact / "other")
    put(artifact / "other", uri)
    after = student_folder(uri, "runs")
    assert after != before
    assert same_weights(after, artifact / "other")


def test_no_student_in_s3_is_refused_and_leaves_nothing(artifact: Path, cache: Path, s3_root: str) -> None:
    uri = join(s3_root, "artifact")
    put(artifact, uri)
    for key in list_prefix(uri):
        if key.endswith(".safetensors"):
            delete(join(uri, key))
    with pytest.raises(StudentError, match=rf"a student is a folder with config\.json .* in {uri}"):
        student_folder(uri, "runs")
    assert list((cache / "students").iterdir()) == []
    with pytest.raises(ValueError, match="must not hold credentials"):
        student_folder("s3://key:secret@bucket/student", "runs")


def test_registered_versions_by_alias_and_number(artifact: Path, cache: Path, tmp_path: Path, s3_root: str) -> None:
    runs, uri = str(tmp_path / "runs"), join(s3_root, "artifact")
    put(artifact, uri)
    with quiet():
        client = open_registry(runs)
        client.create_registered_model("m")
        for source in (artifact.as_uri(), uri, "mlflow-artifacts:/1/artifacts"):
            client.create_model_version("m", source)
        client.set_registered_model_alias("m", "champion", "2")
    assert student_folder("models:/m/1", runs) == artifact
    champion = student_folder("models:/m@champion", runs)
    assert champion.is_relative_to(cache)
    assert same_weights(champion, artifact)
    for place, told in (
        ("models:/m/3", "a student behind a server is checked against the sha256 in its run, but models:/m/3 has none"),
        ("models:/m@nobody", "a version must be one that m has, got 'nobody'; choose one of 1, 2, 3, champion"),
        ("models:/other/1", "a model must be registered, got 'other'; the registered ones are: m"),
        ("models:/m", "is named by models:/NAME@ALIAS or models:/NAME/VERSION, got 'models:/m'"),
    ):
        with pytest.raises(RegistryError) as refused:
            student_folder(place, runs)
        assert told in str(refused.value)
    with pytest.raises(RegistryError, match=r"a registry is a folder with mlflow\.db, got none"):
        student_folder("models:/m/1", str(tmp_path / "empty"))


def test_a_folder_is_taken_as_it_is(artifact: Path) -> None:
    assert student_folder(str(artifact), "runs") == artifact
