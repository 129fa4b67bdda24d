"""Several students in one table: by name, sorted, side by side, and where their difference is noise."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from advkd.evaluation.report import render_comparison
from advkd.evaluation.results import EvalReport
from advkd.evaluation.several import evaluate_several, student_names
from advkd.evaluation.wording import compared_text
from tests.advkd.evaluation.parts import Evaluated, gaussian_teacher, make_student


def test_names_are_the_shortest_that_differ() -> None:
    assert student_names(["runs/a/student", "runs/b/student"]) == ("a", "b")
    assert student_names(["x/a/student", "y/a/student"]) == ("x-a", "y-a")
    assert student_names(["s3://bucket/a", "/disk/b"]) == ("a", "b")


def test_one_table_has_all_the_nearest_first(evaluated: Evaluated, tmp_path: Path) -> None:
    make_student(gaussian_teacher(), seed=1).save_pretrained(tmp_path / "other" / "student")
    stages: set[str] = set()
    compared = evaluate_several(
        replace(evaluated.spec, out=str(tmp_path / "out")),
        [evaluated.spec.student, str(tmp_path / "other")],
        lambda stage, done, total: stages.add(stage),
    )
    assert set(compared.names) == {"run", "other"}
    distances = [report.headline.to_teacher.fd.value for report in compared.reports if report.headline]
    assert distances == sorted(distances)
    # The curve was there: only students are computed.
    assert stages == {f"{name}: {stage}" for name in compared.names for stage in ("student", "metrics")}
    for name, report in zip(compared.names, compared.reports, strict=True):
        assert EvalReport.from_json((tmp_path / "out" / name / "metrics.json").read_text()) == report
    table = json.loads((tmp_path / "out" / "comparison" / "comparison.json").read_text())
    assert [row["name"] for row in table["students"]] == list(compared.names)
    page = (tmp_path / "out" / "comparison" / "report.html").read_text()
    assert page.index(f"<td>{compared.names[0]}</td>") < page.index(f"<td>{compared.names[1]}</td>")
    assert f'href="../{compared.names[0]}/report.html"' in page
    assert "Not comparable with others: 160 images" in page
    assert "FD to real" not in page
    assert compared.sentence == (
        f"{compared.names[0]} is nearest to its teacher, of 2 students. Not comparable: 160 images, where a worth "
        "needs 2000."
    )
    enough = tuple(replace(report, samples=2000) for report in compared.reports)
    assert replace(compared, reports=enough).sentence.endswith("of 2 students.")
    with Image.open(tmp_path / "out" / "comparison" / "comparison.png") as picture:
        assert picture.height > 3 * 64


def test_a_difference_within_the_noise_is_called_so(evaluated: Evaluated) -> None:
    report = replace(evaluated.report, samples=2048)
    (distances,) = report.distances

    def at(value: float, deviation: float) -> EvalReport:
        fd = replace(distances.to_teacher.fd, value=value, deviation=deviation)
        return replace(report, distances=(replace(distances, to_teacher=replace(distances.to_teacher, fd=fd)),))

    assert "All differences between neighbours are larger" in compared_text(["a", "b"], [at(1.0, 0.1), at(2.0, 0.1)])
    said = compared_text(["a", "b", "c"], [at(1.0, 0.1), at(1.1, 0.1), at(3.0, 0.1)])
    assert "The difference between a and b is no larger than the noise" in said


def test_distances_to_real_images_stand_in_the_table(evaluated: Evaluated) -> None:
    (distances,) = evaluated.report.distances
    fd = replace(distances.to_teacher.fd, value=12.25, n_ref=24, reference="real cats")
    real = replace(distances, to_real=replace(distances.to_teacher, fd=fd))
    report = replace(evaluated.report, distances=(real,), real_remarks="Of the 24 real pictures: 3 enlarged.")
    page = render_comparison(["a", "b"], [report, evaluated.report], b"", ["a", "b"])
    assert "Real images are 24 images of real cats. Of the 24 real pictures: 3 enlarged." in page
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    cells = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]
    at = cells[0].index("FD to real")
    assert [row[at].split(" ")[0] for row in cells[1:]] == ["12.2", "-"]
    assert {len(row) for row in cells} == {10}


def test_a_student_that_is_named_twice_is_refused(evaluated: Evaluated) -> None:
    with pytest.raises(ValueError, match="must differ, got a, a; name each once"):
        evaluate_several(evaluated.spec, ["a", "a"])
