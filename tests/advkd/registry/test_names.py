"""Names of models and roots: those that nothing can hold are refused, all others are found again."""

from pathlib import Path

import pytest

from advkd.registry.tracking import RegisterSpec
from advkd.registry.versions import DIGEST_TAG, open_registry, versions_of, versions_of_artifact


@pytest.fixture(autouse=True)
def no_other_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a:1"])
def test_names_that_mlflow_cannot_hold(name: str) -> None:
    with pytest.raises(ValueError, match=r"RegisterSpec.model must be a name without '/' and ':', and with one"):
        RegisterSpec(student="a", report="b", out="c", model=name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["plain", "it's", 'a "quoted" one', "50 % of #1?"])
def test_odd_names_of_models_and_roots_are_found_again(name: str, tmp_path: Path) -> None:
    root = tmp_path / f"runs {name}"
    client = open_registry(str(root))
    client.create_registered_model(name)
    client.create_model_version(name, (tmp_path / "artifact").as_uri(), tags={DIGEST_TAG: "d"})
    assert [version.name for version in versions_of(client, name)] == [name]
    assert [int(version.version) for version in versions_of_artifact(client, name, "d")] == [1]
    assert (root / "mlflow.db").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {root.name}


def test_a_name_that_no_filter_can_hold_is_refused_before_anything_is_spent() -> None:
    with pytest.raises(ValueError, match="one kind of quotes"):
        RegisterSpec(student="", report="", out="", model="""it's "mine\"""")
