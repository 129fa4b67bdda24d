"""Renders the page of an evaluation: self-contained, without scripts and links to resources. HTML: `templates/`."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from advkd.diffusion import cut
from advkd.evaluation.classes import ClassScores
from advkd.evaluation.curve import solver_text
from advkd.evaluation.pictures import Pictures
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores
from advkd.evaluation.wording import compared_text, measured_text, number_text
from advkd.evaluation.worth import Worth

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
    all_classes: int = 0,
) -> str:
    """The page as one HTML text.

    Args:
        report: the figures.
        pictures: what is drawn of them.
        training: the sentence above the picture of the training, where there is one.
        trajectories: permanent link to what the student was trained on, where that is known.
        classes: figures of the classes or prompts to show, where samples have one.
        told: "classes" or "prompts".
        all_classes: number of all of them.
    """
    return _TEMPLATES.get_template("report.html").render(
        report=report,
        title=worth_sentence(report.worth, report.not_comparable),
        measured=measured_text(report),
        pictures=pictures,
        submodules=_submodules(report),
        classes=_classes(classes, told),
        told=told,
        all_classes=all_classes or len(classes),
        training=training,
        metrics=[table for distances in report.distances for table in _metrics(distances)],
        costs=_costs(report),
        trajectories=trajectories,
    )


def render_comparison(names: Sequence[str], reports: Sequence[EvalReport], picture: bytes, links: Sequence[str]) -> str:
    """The page of several students as one HTML text.

    Args:
        names: of the students, the nearest to the teacher first.
        reports: of each.
        picture: their images from the same noises, as PNG.
        links: to the page of each.
    """
    return _TEMPLATES.get_template("comparison.html").render(
        title=f"{len(names)} students of {reports[0].teacher}",
        measured=compared_text(names, reports),
        rows=_compared(names, reports),
        picture=picture,
        links=list(zip(names, links, strict=True)),
    )


def devices_html(rows: Sequence[tuple[str, ...]], note: str) -> str:
    """The section of costs on devices: a table, its header first, and a sentence below it."""
    return _TEMPLATES.get_template("devices.html").render(rows=rows, note=note)


def _compared(names: Sequence[str], reports: Sequence[EvalReport]) -> Rows:
    real = any(report.headline is not None and report.headline.to_real is not None for report in reports)
    to_real = ("FD to real",) if real else ()
    header = (
        "student",
        "FD",
        *to_real,
        "worth",
        "in DDIM",
        "recall",
        "paired RMSE",
        "parameters",
        "multiply-adds",
        "ms",
    )
    rows: Rows = [header]
    for name, report in zip(names, reports, strict=True):
        headline, cost = report.headline, report.cost.student
        recall = None if headline is None else headline.to_teacher.recall
        theirs = None if headline is None else headline.to_real
        ddim = None if headline is None or report.worth is None else headline.worth_ddim
        figures = "-" if headline is None else _figures(headline.to_teacher)[0]
        rows.append(
            (
                name,
                figures,
                *(("-" if theirs is None else _figures(theirs)[0],) if real else ()),
                "-" if report.worth is None else _bound(report.worth),
                "-" if ddim is None else _bound(ddim),
                "-" if recall is None else number_text(recall.value),
                number_text(report.submodules[-1].rmse_clean.value),
                _count(cost.params),
                _count(cost.macs),
                f"{cost.latency_ms[min(cost.latency_ms)]:.3g}",
            )
        )
    return rows


def _bound(worth: Worth) -> str:
    sign = ("< " if worth.passes <= 1 else "> ") if worth.clamped else ""
    return f"{sign}{worth.passes:.1f}"


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
            *(number_text(metric.value) for metric in part.metrics()),
        )
        for part in report.submodules
    ]
    return [header, *rows]


def _classes(scores: Sequence[ClassScores], told: str) -> Rows:
    header: tuple[str, ...] = ("prompt" if told == "prompts" else "class", "samples", "paired RMSE, clean")
    shown = scores[:_CLASSES_SHOWN]
    rows: Rows = [(_class_name(score), str(score.samples), number_text(score.rmse)) for score in shown]
    distances = [score.kd for score in shown]
    if any(distance is not None for distance in distances):
        header = (*header, "KD")
        rows = [
            (*row, "-" if distance is None else number_text(distance))
            for row, distance in zip(rows, distances, strict=True)
        ]
    fidelities = [score.fidelity for score in shown]
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
    student = distances.to_teacher
    rows = [("student, 1 pass", *_figures(student))]
    rows += [
        (f"{solver_text(point.solver)}, {point.passes} pass{'es' * (point.passes > 1)}", *_figures(point.to_target))
        for point in distances.curve
    ]
    yield student.fd, [_header(student), *rows]
    if distances.to_real is not None and distances.teacher_to_real is not None:
        real = distances.to_real
        target = distances.to_teacher.fd.reference
        yield (
            real.fd,
            [_header(real), ("student, 1 pass", *_figures(real)), (target, *_figures(distances.teacher_to_real))],
        )


def _header(scores: Scores) -> tuple[str, ...]:
    return (f"against {scores.fd.reference}", *(metric.name.split("(")[0] for metric in scores.metrics()))


def _figures(scores: Scores) -> tuple[str, ...]:
    return tuple(
        number_text(metric.value) + ("" if metric.deviation is None else f" ± {number_text(metric.deviation)}")
        for metric in scores.metrics()
    )


def _costs(report: EvalReport) -> Rows:
    student, teacher = report.cost.student, report.cost.teacher
    rows: Rows = [
        ("", "student", f"teacher@{teacher.passes}", "teacher / student"),
        ("Network passes per image", str(student.passes), str(teacher.passes), _ratio(teacher.passes, student.passes)),
        ("Parameters", _count(student.params), _count(teacher.params), _ratio(teacher.params, student.params)),
        ("Multiply-adds per image", _count(student.macs), _count(teacher.macs), _ratio(teacher.macs, student.macs)),
    ]
    if report.worth is not None:
        rows.append(
            ("Multiply-adds of what it is worth", "1", f"{report.worth.passes:.1f} passes", _times(report.cost_ratio))
        )
        for batch, ratio in report.latency_ratios.items():
            rows.append(
                (f"Time of what it is worth, batch {batch}", "1", f"{report.worth.passes:.1f} passes", _times(ratio))
            )
    for batch in student.latency_ms:
        ours, theirs = student.latency_ms[batch], teacher.latency_ms[batch]
        rows.append((f"Latency, batch {batch}", f"{ours:.3g} ms", f"{theirs:.3g} ms", _ratio(theirs, ours)))
    return rows


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3g}×"  # noqa: RUF001


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
_TEMPLATES.filters |= {
    "number": number_text,
    "count": _count,
    "data": _data,
    "percent": _percent,
    "solver": solver_text,
}
