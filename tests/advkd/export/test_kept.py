"""What a distillation exports: kept where it is there already, and no hindrance where distances cannot be measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from advkd.export import ExportSpec, export_for_devices
from advkd.teachers import EMBEDDED
from tests.advkd.evaluation.parts import gaussian_teacher, make_student

pytestmark = pytest.mark.thorough


def test_a_teacher_that_no_extractor_serves_does_not_end_a_distillation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EMBEDDED, "gaussian", lambda device: gaussian_teacher())
    make_student(gaussian_teacher()).save_pretrained(tmp_path / "student")
    spec = ExportSpec(
        student=str(tmp_path / "student"),
        out=str(tmp_path / "onnx"),
        teacher="gaussian",
        noises=6,
        seconds=0.0,
        memory=False,
    )
    first = export_for_devices(spec)
    assert first.exported
    models = json.loads((tmp_path / "onnx" / "metadata.json").read_text())["models"]
    assert [model["distance_to_teacher"] for model in models.values()] == [None] * len(models)
    again = export_for_devices(spec)
    assert (again.exported, again.uri, again.cost) == (False, first.uri, first.cost)
    # Without features there is nothing to measure by: that was asked for by name.
    with pytest.raises(ValueError, match="a distance to the teacher needs features, got 'none'"):
        export_for_devices(replace(spec, out=str(tmp_path / "other"), features="none"))
