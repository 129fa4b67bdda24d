"""When a report is kept, and when the evaluation that wrote it is done anew."""

from dataclasses import replace

import pytest

from advkd.evaluation.evaluate import EvaluateSpec
from advkd.evaluation.evaluate import evaluate as evaluate_in_process
from advkd.evaluation.features import features_for
from advkd.teachers import EMBEDDED
from flows import evaluate as module
from flows.evaluate import finished_report
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluated")
    teacher = gaussian_teacher()
    make_student(teacher).save_pretrained(root / "run" / "student")
    spec = EvaluateSpec(
        student=str(root / "run"),
        teacher="one-gaussian",
        out=str(root / "report"),
        references=str(root),
        samples=32,
        trajectory_samples=16,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "one-gaussian", lambda device: teacher)
        yield spec, evaluate_in_process(spec)


def test_the_report_of_the_same_evaluation_is_kept(evaluated):
    spec, report = evaluated
    assert finished_report(spec) == report


@pytest.mark.parametrize("change", [{"seed": 1}, {"samples": 40}, {"trajectory_samples": 24}, {"threads": 2}])
def test_another_evaluation_is_done_anew(evaluated, change):
    spec, _ = evaluated
    assert finished_report(replace(spec, **change)) is None


def test_a_report_in_other_features_is_not_kept(evaluated, monkeypatch):
    spec, _ = evaluated
    monkeypatch.setattr(module, "features_for", lambda shape: replace(features_for(shape), sha256="0" * 64))
    assert finished_report(spec) is None


def test_a_report_from_another_processor_is_not_kept(evaluated, monkeypatch):
    spec, _ = evaluated
    monkeypatch.setattr(module, "device_name", lambda device: "another one")
    assert finished_report(spec) is None
