"""A version and the ONNX export that is a part of it."""

import json
from pathlib import Path

import pytest

from advkd.export import ExportError, ExportSpec, export_artifact, export_for_devices
from advkd.export.onnx.running import Student
from advkd.registry.tracking import RegisterSpec, register
from tests.advkd.evaluation.parts import Evaluated, gaussian_teacher, make_student


@pytest.fixture(autouse=True)
def no_other_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.thorough
def test_a_version_carries_its_onnx_export_which_does_not_change_what_it_is(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    from mlflow.models import Model

    out = tmp_path / "onnx"
    spec = ExportSpec(
        student=evaluated.spec.student, out=str(out), teacher="gaussian", features="digits", samples=160,
        references=evaluated.spec.references, noises=6, seconds=0.0, memory=False,
    )  # fmt: skip
    made = export_for_devices(spec)
    assert (made.exported, made.refused) == (True, "")
    assert made.cost is not None
    assert [row.name for row in made.cost.rows][:3] == ["torch eager", "ONNX Runtime fp32", "ONNX Runtime int8"]
    assert made.cost.rows[3].name.startswith("teacher, ")
    noted = json.loads((out / "metadata.json").read_text())["models"]
    fds = {precision: model["distance_to_teacher"]["fd"] for precision, model in noted.items()}
    assert fds["int8"] <= fds["fp32"] + max(0.1 * fds["fp32"], 0.3)
    again = export_for_devices(spec)
    assert (again.exported, again.cost) == (False, made.cost)

    asked = {"student": evaluated.spec.student, "report": evaluated.spec.out, "runs": str(tmp_path / "runs")}
    with_onnx = register(RegisterSpec(**asked, out=str(tmp_path / "model"), onnx=str(out)))
    folder = Path(with_onnx.uri)
    # What MLflow's server runs, in the version and in what was published.
    for place in (folder, tmp_path / "model"):
        assert set(Model.load(str(place)).flavors) == {"python_function"}
    assert Student(folder / "onnx", "int8").images(2).shape == (2, 1, 16, 16)
    assert "## On devices" in (folder / "README.md").read_text()
    without = register(RegisterSpec(**asked, out=str(tmp_path / "plain")))
    assert (without.version, without.created) == (with_onnx.version, False)

    make_student(gaussian_teacher(), seed=9).save_pretrained(tmp_path / "other")
    with pytest.raises(ExportError, match="must be of its student, got another one"):
        export_artifact(tmp_path / "other", tmp_path / "mixed", onnx=out)
    (out / "model_int8.onnx").write_bytes((out / "model_int8.onnx").read_bytes()[:-9])
    with pytest.raises(ExportError, match=r"must hold the networks that were compared with torch, got another .*int8"):
        register(RegisterSpec(**asked, out=str(tmp_path / "damaged"), onnx=str(out)))
