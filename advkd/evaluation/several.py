"""Evaluates several students of one teacher: one table, one page, and pictures from the same noises."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import torch

from advkd.evaluation.curve import solver_text
from advkd.evaluation.evaluation import REPORT, Evaluated, evaluate_with_images
from advkd.evaluation.pictures import labelled_rows
from advkd.evaluation.report import render_comparison
from advkd.evaluation.results import COMPARABLE_SAMPLES, EvalReport
from advkd.evaluation.spec import EvaluateSpec, Progress
from advkd.files import publish, workplace
from storage.objects import join, write_bytes

COMPARISON, PICTURE = "comparison.json", "comparison.png"
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several students, the nearest to the teacher first.

    Attributes:
        names: of the students.
        reports: their reports.
    """

    names: tuple[str, ...]
    reports: tuple[EvalReport, ...]

    @property
    def sentence(self) -> str:
        """Who is nearest to the teacher, and whether that is comparable with others."""
        said = f"{self.names[0]} is nearest to its teacher, of {len(self.names)} students"
        few = self.reports[0].not_comparable
        return f"{said}. Not comparable: {few}, where a worth needs {COMPARABLE_SAMPLES}." if few else f"{said}."

    def summary(self) -> dict[str, Any]:
        """Returns the figures of all as plain JSON."""
        return {"students": [{"name": n, **r.summary()} for n, r in zip(self.names, self.reports, strict=True)]}


def evaluate_several(spec: EvaluateSpec, students: Sequence[str], progress: Progress | None = None) -> Comparison:
    """Evaluates students by the same settings, each into a folder of `out`, and writes a page that compares them.

    Args:
        spec: settings; its student is replaced by each of them.
        students: folders or URIs.
        progress: `progress(stage, done, total)`, whose stages name the student.

    Raises:
        ValueError: a student is named twice.
        EvaluationError: see `evaluate`.
    """
    if len(set(students)) < len(students):
        raise ValueError(f"students that are compared must differ, got {', '.join(students)}; name each once")
    names = student_names(students)
    evaluated = {
        name: evaluate_with_images(
            replace(spec, student=student, out=join(spec.out, name)), progress and partial(_told, progress, name)
        )
        for name, student in zip(names, students, strict=True)
    }
    ordered = sorted(names, key=lambda name: _distance(evaluated[name].report))
    comparison = Comparison(names=tuple(ordered), reports=tuple(evaluated[name].report for name in ordered))
    picture = _picture([evaluated[name] for name in ordered], ordered)
    links = [f"{name}/{REPORT}" for name in ordered]
    with workplace(join(spec.out, "comparison")) as folder:
        write_bytes(str(folder / PICTURE), picture)
        page = render_comparison(ordered, comparison.reports, picture, [f"../{link}" for link in links])
        write_bytes(str(folder / REPORT), page.encode())
        write_bytes(str(folder / COMPARISON), (json.dumps(comparison.summary(), indent=1) + "\n").encode())
        publish(folder, join(spec.out, "comparison"))
    return comparison


def student_names(students: Sequence[str]) -> tuple[str, ...]:
    """Returns a short name for each place of a student: its last parts, as many as tell them apart."""
    parts = [[*PurePath(urlsplit(student).path or student).parts] for student in students]
    parts = [words[:-1] if len(words) > 1 and words[-1] == "student" else words for words in parts]
    for length in range(1, 1 + max(map(len, parts))):
        names = tuple("-".join(word.strip("/") for word in words[-length:]).strip("-") for words in parts)
        if len(set(names)) == len(names):
            return names
    return tuple(f"student-{number}" for number in range(1, 1 + len(students)))


def _told(progress: Progress, name: str, stage: str, done: int, total: int) -> None:
    progress(f"{name}: {stage}", done, total)


def _distance(report: EvalReport) -> float:
    last = report.submodules[-1].rmse_clean.value
    return last if report.headline is None else report.headline.to_teacher.fd.value


def _picture(evaluated: Sequence[Evaluated], names: Sequence[str]) -> bytes:
    first = evaluated[0]
    target = f"teacher, {first.report.target_steps} steps of {solver_text(first.report.target_solver)}"
    rows = [images[:SHOWN] for images in (first.target, *(each.student for each in evaluated))]
    return labelled_rows([row.to(torch.float32) for row in rows], (target, *names))
