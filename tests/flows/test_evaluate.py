"""When a report is kept, and when the evaluation that wrote it is done anew."""

from dataclasses import replace

import pytest

from advkd.evaluation.curve import curve_of
from advkd.evaluation.evaluation import evaluate as evaluate_in_process
from advkd.evaluation.spec import TeacherPasses
from advkd.features import FEATURES, digits_extractor
from flows import evaluate as module
from flows.evaluate import finished_report
from tests.advkd.evaluation.parts import gaussian_teacher


@pytest.mark.thorough
def test_the_report_of_the_same_evaluation_is_kept(evaluated):
    spec, report = evaluated
    assert finished_report(spec) == report


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"samples": 40},
        {"trajectory_samples": 24},
        {"threads": 2},
        {"features": "none"},
        {"real": "digits"},
        {"classes": ("3",)},
    ],
)
def test_another_evaluation_is_done_anew(evaluated, change):
    spec, _ = evaluated
    assert finished_report(replace(spec, **change)) is None


def test_a_report_in_other_features_is_not_kept(evaluated, monkeypatch):
    spec, _ = evaluated
    monkeypatch.setitem(FEATURES._rows, "digits", lambda asked: replace(digits_extractor(), sha256="0" * 64))
    assert finished_report(spec) is None


def test_a_report_from_another_processor_is_not_kept(evaluated, monkeypatch):
    spec, _ = evaluated
    monkeypatch.setattr(module, "device_name", lambda device: "another one")
    assert finished_report(spec) is None


@pytest.mark.thorough
def test_the_teacher_s_passes_are_counted_where_they_are_computed(evaluated, tmp_path):
    spec, report = evaluated

    def passes(**changed):
        counted = TeacherPasses(lambda stage, done, total: None)
        evaluate_in_process(replace(spec, out=str(tmp_path / "report"), **changed), counted)
        return counted.total

    assert passes() == 0
    steps = [solver.steps for solver in curve_of(gaussian_teacher()).solutions]
    # The first images are drawn once more, to be shown.
    assert passes(references=str(tmp_path)) == 32 * (sum(steps) + 100) + 16 * report.solver_steps
