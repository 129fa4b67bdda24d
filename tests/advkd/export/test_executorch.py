"""ExecuTorch: refused by name where it is not installed; where it is (`make test-mobile`), the images are torch's."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from advkd.export import ExportError, ExportSpec, export_student
from advkd.export.onnx.graph import ImageNetwork, open_subject, outputs_of
from tests.advkd.export.onnx.subjects import save_labelled, save_layerwise, save_levels, save_progressive


def asked(folder: Path, out: Path, **changes: object) -> ExportSpec:
    return ExportSpec(student=str(folder), out=str(out), format="executorch", noises=70, **changes)


def test_a_missing_package_is_named_with_the_versions_that_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "executorch" else find(name, *rest)
    )
    said = r"needs the package executorch, .* pip install 'advkd\[mobile\]' \(1\.5\.1 goes with torch 2\.13\), .* onnx"
    with pytest.raises(ExportError, match=said):
        export_student(asked(save_layerwise(tmp_path / "student"), tmp_path / "out"))
    with pytest.raises(ValueError, match="of the format 'executorch' must be one of fp32, got int8"):
        export_student(asked(tmp_path / "student", tmp_path / "out", precisions=("int8",)))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_student_with_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: object())
    save_labelled(tmp_path / "student")
    with pytest.raises(ExportError, match="is for students that take noise alone, got one with labels or prompts"):
        export_student(asked(tmp_path / "student", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("save", [save_layerwise, save_levels, save_progressive])
def test_images_and_states_are_those_of_torch_for_any_batch(save: Callable[[Path], Path], tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs executorch: `make test-mobile`")
    from executorch.runtime import Runtime

    out = Path(export_student(asked(save(tmp_path / "student"), tmp_path / "out", states=True)))
    noted = json.loads((out / "metadata.json").read_text())
    assert noted["format"] == "advkd-executorch-1"
    assert noted["models"]["fp32"]["parity"]["largest"] < 1e-5
    subject = open_subject(tmp_path / "student")
    method = Runtime.get().load_program(out / "model.pte").load_method("forward")
    for count in (1, 15, 16, 64):
        inputs = subject.inputs(7, 0, count)
        computed = method.execute([values.contiguous() for values in inputs.values()])
        expected = outputs_of(ImageNetwork(subject, states=True), inputs)
        for mine, theirs in zip(computed, expected, strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=0, atol=1e-4)
