"""Distances in the features of several extractors, and reports that do without."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import evaluate
from advkd.evaluation.results import EvalReport
from advkd.evaluation.spec import EvaluateSpec, protocols
from advkd.features import FEATURES, FeatureExtractor
from advkd.teachers import EMBEDDED, load_teacher
from tests.advkd.evaluation.conftest import Evaluated
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


def rows_of(images: Tensor) -> Tensor:
    """A mean for every row of pixels."""
    return images.mean((1, 3))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = FeatureExtractor("rows", "f" * 64, 16, rows_of)
    monkeypatch.setitem(FEATURES._rows, "rows", lambda asked: extractor)


@pytest.mark.thorough
def test_several_measure_side_by_side_and_digits_stay_as_they_were(
    rows: None, evaluated: Evaluated, tmp_path: Path
) -> None:
    out, references = str(tmp_path / "report"), str(tmp_path / "references")
    report = evaluate(replace(evaluated.spec, out=out, references=references, features="rows,digits"))
    alone = evaluated.report.headline
    assert [one.extractor for one in report.distances] == ["rows", "digits"]
    assert report.distances[1] == alone
    assert report.headline is report.distances[0]
    assert {fd.name for part in report.submodules for fd in part.fd_clean} == {"FD(rows)", "FD(digits)"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "FD(rows), states" in page
    assert "FD(digits), states" in page
    assert report.summary()["fd"]["name"] == "FD(rows)"
    assert report.summary()["features"].keys() == {"rows", "digits"}


def test_without_an_extractor_there_is_a_report_without_distances(tmp_path: Path) -> None:
    teacher = gaussian_teacher(shape=(1, 8, 8))
    make_student(teacher).save_pretrained(tmp_path / "student")
    out = tmp_path / "report"
    out.mkdir()
    (out / "curve.png").write_bytes(b"of another evaluation")
    spec = EvaluateSpec(
        student=str(tmp_path / "student"), teacher="small", out=str(out), references=str(tmp_path), samples=32
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "small", lambda device: teacher)
        report = evaluate(spec)
    assert report.distances == ()
    assert report.headline is None
    assert report.worth is None
    for part in report.submodules:
        assert part.fd_state == part.fd_clean == ()
        assert part.rmse_state.value > 0
    assert EvalReport.from_json((out / "metrics.json").read_text()) == report
    summary = json.loads(json.dumps(report.summary()))
    assert [summary[name] for name in ("worth_steps", "fd", "recall", "features")] == [None, None, None, {}]
    assert summary["params"]["student"] > 0
    assert {path.name for path in out.glob("*.png")} == {"samples.png", "strips.png", "strips-clean.png"}
    page = (out / "report.html").read_text()
    assert "No distances: no extractor was chosen" in page
    assert "FD(" not in page


@pytest.mark.thorough
def test_real_images_are_those_that_were_named(rows: None, evaluated: Evaluated, tmp_path: Path) -> None:
    images = (torch.rand(12, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).round().to(torch.uint8)
    for index, image in enumerate(images):
        (tmp_path / "pictures" / "inner").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(tmp_path / "pictures" / "inner" / f"{index:02}.png")
    real = str(tmp_path / "pictures")
    spec = replace(evaluated.spec, out=str(tmp_path / "report"), references=str(tmp_path), features="rows", real=real)
    (distances,) = evaluate(spec).distances
    assert distances.to_real is not None
    assert (distances.to_real.fd.reference, distances.to_real.fd.n_ref) == ("real pictures", 12)
    assert protocols("rows", real, gaussian_teacher()) == [("rows", "f" * 64, distances.real_sha256)]
    (without,) = evaluate(replace(spec, real=None)).distances
    assert without.to_real is None
    assert without.real_sha256 == ""
    assert without.reference_digest != distances.reference_digest
    assert without.to_teacher == distances.to_teacher


def test_digits_are_assumed_for_no_other_teacher_and_extractor(rows: None) -> None:
    assert protocols("digits", None, gaussian_teacher())[0][2] == ""
    assert protocols("rows", None, load_teacher("mixture"))[0][2] == ""
    assert len(protocols("digits", None, load_teacher("mixture"))[0][2]) == 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, r"a folder with \.png, .* pictures, got none in"),
        (
            lambda folder: (folder / "a.png").write_bytes(b"no"),
            "must hold pictures, got something else in .*a.png; remove it",
        ),
        (
            lambda folder: Image.new("L", (8, 8)).save(folder / "a.png"),
            r"\[1, 16, 16\] of the teacher's, got \[1, 8, 8\] in",
        ),
    ],
)
def test_real_images_that_are_none_are_refused(make: object, message: str, rows: None, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path)
    with pytest.raises(EvaluationError, match=message):
        protocols("rows", str(tmp_path), gaussian_teacher())
