"""Other students with figures of the test's choice."""

import hashlib
from dataclasses import replace
from pathlib import Path

from advkd.evaluation.results import EvalReport
from advkd.students.loading import student_files
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


def candidate(folder: Path, report: EvalReport, seed: int, fd: float, recall: float) -> tuple[Path, Path]:
    """Another student with figures of the test's choice: its folder and its report's."""
    make_student(gaussian_teacher(), seed=seed).save_pretrained(folder / "student")
    sha256 = hashlib.sha256(student_files(folder).weights.read_bytes()).hexdigest()
    assert report.headline is not None
    scores = report.headline.to_teacher
    scores = replace(scores, fd=replace(scores.fd, value=fd), recall=replace(scores.recall, value=recall))
    judged = replace(report, student_sha256=sha256, distances=(replace(report.headline, to_teacher=scores),))
    (folder / "report").mkdir()
    (folder / "report" / "metrics.json").write_text(judged.to_json())
    return folder, folder / "report"
