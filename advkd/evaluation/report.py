"""Renders the page of an evaluation: self-contained, without scripts and links to resources. HTML: `templates/`."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from advkd.diffusion import cut
from advkd.evaluation.classes import ClassScores
from advkd.evaluation.pictures import Pictures
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores

RECOMMENDED_SAMPLES = 2000
_CLASSES_SHOWN = 12

Rows = list[tuple[str, ...]]
"""The rows of a table, the header first."""


def render_report(
    report: EvalReport,
    pictures: Pictures,
    training: str = "",
    trajectories: str = "",
    classes: Sequence[ClassScores] = (),
    told: str = "classes",
) -> str:
    """The page as one HTML text.

    Args:
        report: the figures.
        pictures: what is drawn of them.
        training: the sentence above the picture of the training, where there is one.
        trajectories: permanent link to what the student was trained on, where that is known.
        classes: figures of every class or prompt, the worst first, where samples have one.
        told: "classes" or "prompts".
    """
    return _TEMPLATES.get_template("report.html").render(
        report=report,
        title=worth_sentence(report.worth),
        recommended_samples=RECOMMENDED_SAMPLES,
        pictures=pictures,
        submodules=_submodules(report),
        classes=_classes(classes, told),
        told=told,
        all_classes=len(classes),
        training=training,
        metrics=[table for distances in report.distances for table in _metrics(distances)],
        costs=_costs(report),
        trajectories=trajectories,
    )


def _submodules(report: EvalReport) -> Rows:
    first = report.submodules[0]
    header = (
        "Submodule at",
        *(f"{metric.name}, states" for metric in first.fd_state),
        *(f"{metric.name}, clean" for metric in first.fd_clean),
        "paired RMSE, states",
        "paired RMSE, clean",
    )
    rows = [
        (
            f"t = {part.timestep}" if part.timestep else "clean",
            *(_number(metric.value) for metric in part.metrics()),
        )
        for part in report.submodules
    ]
    return [header, *rows]


def _classes(scores: Sequence[ClassScores], told: str) -> Rows:
    header: tuple[str, ...] = ("prompt" if told == "prompts" else "class", "samples", "paired RMSE, clean")
    rows: Rows = [(_class_name(score), str(score.samples), _number(score.rmse)) for score in scores[:_CLASSES_SHOWN]]
    fidelities = [score.fidelity for score in scores[:_CLASSES_SHOWN]]
    if any(fidelities):
        header = (*header, "read as it, student", "read as it, teacher")
        rows = [
            (*row, *(("-", "-") if read is None else (_percent(read.student), _percent(read.teacher))))
            for row, read in zip(rows, fidelities, strict=True)
        ]
    return [header, *rows] if rows else []


def _class_name(score: ClassScores) -> str:
    number = str(score.label)
    return number if score.name in ("", number) else f"{number} {cut(score.name)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _metrics(distances: Distances) -> Iterator[tuple[Metric, Rows]]:
    """Yields tables, each with a metric for the protocol that all of its metrics share."""
    for against in ("to_teacher", "to_real"):
        student: Scores | None = getattr(distances, against)
        if student is None:
            continue
        header = (f"against {student.fd.reference}", *(metric.name.split("(")[0] for metric in student.metrics()))
        rows = [("student, 1 pass", *(_number(metric.value) for metric in student.metrics()))]
        for point in distances.curve:
            scores: Scores | None = getattr(point, against)
            if scores is not None:
                steps = f"teacher, {point.steps} step{'s' * (point.steps > 1)}"
                rows.append((steps, *(_number(metric.value) for metric in scores.metrics())))
        yield student.fd, [header, *rows]


def _costs(report: EvalReport) -> Rows:
    student, teacher = report.cost.student, report.cost.teacher
    rows: Rows = [
        ("", "student", f"teacher@{teacher.passes}", "teacher / student"),
        ("Network passes per image", str(student.passes), str(teacher.passes), _ratio(teacher.passes, student.passes)),
        ("Parameters", _count(student.params), _count(teacher.params), _ratio(teacher.params, student.params)),
        ("Multiply-adds per image", _count(student.macs), _count(teacher.macs), _ratio(teacher.macs, student.macs)),
    ]
    for batch in student.latency_ms:
        ours, theirs = student.latency_ms[batch], teacher.latency_ms[batch]
        rows.append((f"Latency, batch {batch}", f"{ours:.3g} ms", f"{theirs:.3g} ms", _ratio(theirs, ours)))
    return rows


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _number(value: float) -> str:
    """Formats a number with three significant digits, never in scientific notation."""
    if value == 0.0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def _ratio(larger: float | None, smaller: float | None) -> str:
    return f"{larger / smaller:.3g}×" if larger and smaller else "-"  # noqa: RUF001


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"number": _number, "count": _count, "data": _data, "percent": _percent}
