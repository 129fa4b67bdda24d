"""Distances in the features of several extractors, and reports that do without."""

import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from advkd.diffusion import Labels
from advkd.evaluation.classes import check_classes
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import evaluate
from advkd.evaluation.nearest import nearest_of
from advkd.evaluation.results import EvalReport
from advkd.evaluation.spec import EvaluateSpec, protocols
from advkd.features import FEATURES, FeatureExtractor, digits_extractor
from advkd.images import ImageSetError, real_features
from advkd.teachers import EMBEDDED, load_teacher
from tests.advkd.evaluation.parts import SHAPE, Evaluated, gaussian_teacher, make_student


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
    assert report.not_comparable == "no extractor"
    assert report.distances == ()
    assert report.headline is None
    assert report.worth is None
    for part in report.submodules:
        assert part.fd_state == part.fd_clean == ()
        assert part.rmse_state.value > 0
    assert EvalReport.from_json((out / "metrics.json").read_text()) == report
    summary = json.loads(json.dumps(report.summary()))
    assert [summary[name] for name in ("worth", "fd", "recall", "features")] == [None, None, None, {}]
    assert summary["params"]["student"] > 0
    assert {path.name for path in out.glob("*.png")} == {"samples.png", "strips.png", "strips-clean.png"}
    page = (out / "report.html").read_text()
    assert "No distances: no extractor was chosen" in page
    assert "FD(" not in page


def some_pictures(folder: Path, count: int = 24) -> str:
    images = (torch.rand(count, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).round().to(torch.uint8)
    for index, image in enumerate(images):
        (folder / "inner").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.numpy()).save(folder / "inner" / f"{index:02}.png")
    return str(folder)


def given(evaluated: Evaluated, tmp_path: Path, **changes: Any) -> EvaluateSpec:
    return replace(evaluated.spec, out=str(tmp_path / "report"), **changes)


def test_real_images_are_those_that_were_named(evaluated: Evaluated, tmp_path: Path) -> None:
    real = some_pictures(tmp_path / "pictures")
    spec = given(evaluated, tmp_path, real=real)
    (distances,) = evaluate(spec).distances
    assert distances.to_real is not None
    assert distances.teacher_to_real is not None
    assert (distances.to_real.fd.reference, distances.to_real.fd.n_ref) == ("real pictures", 24)
    # 24 real images for features of 64 dimensions.
    assert distances.rank_deficient
    assert not evaluated.report.distances[0].rank_deficient
    assert distances.teacher_to_real.fd.reference == "real pictures"
    assert distances.teacher_to_real.fd.value != distances.to_real.fd.value
    assert protocols(spec, gaussian_teacher()) == [("digits", digits_extractor().sha256, distances.real_sha256)]
    with Image.open(tmp_path / "report" / "nearest.png") as picture:
        assert min(picture.size) > 100
    page = unescape((tmp_path / "report" / "report.html").read_text())
    assert "To 24 images of real pictures the student's distance is" in page
    assert "Nearest real images" in page
    without = evaluated.report.headline
    assert without is not None
    assert without.to_real is None
    assert without.real_sha256 == ""
    assert without.to_teacher == distances.to_teacher
    # The teacher's reference does not depend on the real images.
    assert without.reference_digest == distances.reference_digest


def test_bad_pictures_are_left_out_on_request_and_counted_in_the_first_paragraph(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    real = some_pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "empty.png").write_bytes(b"")
    (tmp_path / "pictures" / "words.png").write_bytes(b"these are words")
    spec = given(evaluated, tmp_path, real=real)
    for act in (lambda: protocols(spec, gaussian_teacher()), lambda: evaluate(spec)):
        with pytest.raises(ImageSetError, match=r"got 2 of 26 .* the first: empty.png \(empty\); .* --skip-bad"):
            act()
    report = evaluate(replace(spec, skip_bad=True))
    (distances,) = report.distances
    assert distances.to_real is not None
    assert distances.to_real.fd.n_ref == 24
    told = "2 pictures that cannot be read were left out (1 corrupt, 1 empty)."
    assert report.real_remarks == told
    assert told in (tmp_path / "report" / "report.html").read_text()
    assert protocols(replace(spec, skip_bad=True), gaussian_teacher())[0][2] == distances.real_sha256
    assert evaluated.report.real_remarks == ""


def test_published_statistics_are_real_images_of_which_only_the_frechet_distance_is_known(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    real = real_features(some_pictures(tmp_path / "pictures"), digits_extractor(), SHAPE, str(tmp_path))
    file = str(tmp_path / "statistics.npz")
    np.savez(file, mu=real.moments.mean.numpy(), sigma=real.moments.covariance.numpy())
    (distances,) = evaluate(given(evaluated, tmp_path, real=file)).distances
    assert distances.to_real is not None
    assert [metric.name for metric in distances.to_real.metrics()] == ["FD(digits)"]
    assert distances.to_real.fd.n_ref == 0
    assert not (tmp_path / "report" / "nearest.png").exists()
    assert "the statistics of real statistics.npz" in (tmp_path / "report" / "report.html").read_text()


def test_no_real_images_are_assumed() -> None:
    for name in ("digits", "mixture"):
        spec = EvaluateSpec(student="", out="", teacher=name)
        assert protocols(spec, load_teacher(name)) == [("digits", digits_extractor().sha256, "")]


def test_real_images_that_are_none_are_refused_before_anything_is_computed(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    stages: set[str] = set()
    spec = given(evaluated, tmp_path, real=str(tmp_path / "pictures"), references=str(tmp_path / "references"))
    with pytest.raises(ImageSetError, match="got none"):
        evaluate(spec, lambda stage, done, total: stages.add(stage))
    with pytest.raises(ImageSetError, match="got none"):
        protocols(spec, gaussian_teacher())
    assert not stages
    assert not (tmp_path / "references").exists()


def test_statistics_of_other_features_are_refused_before_anything_is_computed(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    """A flow would find it out after hours of training."""
    file = str(tmp_path / "inception.npz")
    np.savez(file, mu=np.zeros(2048), sigma=np.eye(2048))
    spec, stages = given(evaluated, tmp_path, real=file), set[str]()
    for act in (lambda: protocols(spec, gaussian_teacher()), lambda: evaluate(spec, lambda *told: stages.add(told[0]))):
        with pytest.raises(ValueError, match=r"got 2048 dimensions in .*inception.npz and 64 of digits; choose"):
            act()
    np.savez(file, mu=np.zeros(64))
    with pytest.raises(ValueError, match="sigma"):
        protocols(spec, gaussian_teacher())
    assert not stages
    assert not (tmp_path / "report").exists()


def test_fewer_images_than_dimensions_are_refused_where_a_headline_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = FeatureExtractor("wide", "e" * 64, 2048, lambda images: images.flatten(1).repeat(1, 8))
    monkeypatch.setitem(FEATURES._rows, "wide", lambda asked: wide)
    spec = EvaluateSpec(student="", out="", features="wide", samples=2048)
    with pytest.raises(EvaluationError, match=r"got 2048 for 2048 of 'wide'; evaluate 10240 images or more"):
        protocols(spec, gaussian_teacher())
    assert protocols(replace(spec, samples=2049), gaussian_teacher())
    # What is no headline says so itself.
    assert protocols(replace(spec, samples=64), gaussian_teacher())


@pytest.mark.slow
def test_a_student_of_coloured_images_is_judged_in_features_of_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = gaussian_teacher(shape=(3, 8, 8))
    monkeypatch.setitem(EMBEDDED, "colours", lambda device: teacher)
    monkeypatch.setattr("advkd.evaluation.curve._STEPS", {"unipc": (4,), "ddim": (1,)})
    make_student(teacher, (999, 0)).save_pretrained(tmp_path / "student")
    (tmp_path / "real").mkdir()
    for number, picture in enumerate(torch.randint(256, (10, 8, 8, 3), generator=torch.Generator().manual_seed(0))):
        Image.fromarray(picture.to(torch.uint8).numpy()).save(tmp_path / "real" / f"{number:02}.png")
    spec = EvaluateSpec(
        student=str(tmp_path / "student"), teacher="colours", out=str(tmp_path / "report"), references=str(tmp_path),
        features="efficientnet-lite0", real=str(tmp_path / "real"), samples=8, trajectory_samples=8,
    )  # fmt: skip
    (distances,) = evaluate(spec).distances
    assert (distances.extractor, distances.rank_deficient) == ("efficientnet-lite0", True)
    assert "RGB" in distances.to_teacher.fd.input
    assert "224x224 (PIL, bicubic, antialiased)" in distances.to_teacher.fd.input
    of_teacher = {(point.solver, point.passes): point.to_target.fd.value for point in distances.curve}
    assert of_teacher["ddim", 1] > of_teacher["unipc", 4] > 0
    assert distances.to_teacher.fd.value > of_teacher["unipc", 4]
    assert distances.to_real is not None
    assert distances.to_real.fd.n_ref == 10


def test_the_nearest_real_image_is_named() -> None:
    features = torch.tensor([[0.0, 1.0], [5.0, 5.0]])
    others = torch.tensor([[4.0, 5.0], [9.0, 9.0], [0.0, 0.5]])
    assert nearest_of(features, others) == [2, 0]


def test_classes_that_no_image_can_have_are_refused_before_anything_is_computed(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    labels = Labels({"kind": "labels", "names": ["cat", "dog"], "distribution": "uniform"})
    check_classes(("cat", "1"), labels)
    check_classes(("2",), Labels({"kind": "labels", "classes": 3, "distribution": "uniform"}))
    with pytest.raises(
        EvaluationError, match=r"classes of the teacher, by name or number, got cow, 2; it has cat, dog"
    ):
        check_classes(("cow", "2"), labels)
    stages: set[str] = set()
    with pytest.raises(EvaluationError, match=r"got cat; it has none"):
        evaluate(given(evaluated, tmp_path, classes=("cat",)), lambda stage, done, total: stages.add(stage))
    assert not stages
    assert not (tmp_path / "report").exists()
