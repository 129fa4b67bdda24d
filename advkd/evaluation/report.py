"""The self-contained page of an evaluation: pictures inside it, no script, nothing fetched."""

import base64
from collections.abc import Sequence
from html import escape

from advkd.evaluation.cost import Cost
from advkd.evaluation.pictures import Pictures
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores

RECOMMENDED_SAMPLES = 2000

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #656d76; --line: #d9dde3; --page: #fff; --card: #f6f8fa;
  --student: #c4571b; --teacher: #2f64c8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --soft: #949ca6; --line: #343941; --page: #15181c;
  --card: #1d2126; --student: #f0935a; --teacher: #7ea6f4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .3rem; }
p { margin: .3rem 0 .9rem; max-width: 46rem; }
.soft { color: var(--soft); font-size: .92rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1.6rem 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.facts dt { color: var(--soft); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts dd small { display: block; font-size: .82rem; font-weight: 400; color: var(--soft); }
figure { margin: .8rem 0; }
figcaption { color: var(--soft); font-size: .92rem; margin-bottom: .35rem; }
figcaption b.student { color: var(--student); } figcaption b.teacher { color: var(--teacher); }
img { max-width: 100%; height: auto; display: block; }
.pixels { image-rendering: pixelated; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; }
tr.student td { color: var(--student); font-weight: 600; }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
dl.protocol { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .92rem; }
dl.protocol dt { color: var(--soft); } dl.protocol dd { margin: 0; min-width: 0; }
@media (max-width: 36rem) { dl.protocol { grid-template-columns: 1fr; } dl.protocol dd { margin-bottom: .5rem; } }
"""


def render_report(report: EvalReport, pictures: Pictures, training: str = "", trajectories: str = "") -> str:
    """The page as one HTML text.

    Args:
        report: the figures.
        pictures: what is drawn of them.
        training: the sentence above the picture of the training, where there is one.
        trajectories: permanent link to what the student was trained on, where that is known.
    """
    title = worth_sentence(report.worth)
    sections = (
        _headline(report, title),
        _curve(report, pictures),
        _samples(report, pictures),
        _strips(report, pictures),
        _training(pictures, training),
        _metrics(report),
        _costs(report),
        _protocol(report, trajectories),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def _headline(report: EvalReport, title: str) -> str:
    student, teacher = report.cost.student, report.cost.teacher
    batch = max(student.latency_ms)
    facts = [
        *(() if report.headline is None else _measured(report.headline.to_teacher)),
        ("Parameters", _count(student.params), f"teacher {_count(teacher.params)}"),
        (
            "Time per image",
            f"{student.latency_ms[batch] / batch:.3g} ms",
            f"teacher {teacher.latency_ms[batch] / batch:.3g} ms, batch {batch}",
        ),
    ]
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in facts
    )
    warning = (
        ""
        if report.samples >= RECOMMENDED_SAMPLES
        else f"<p><strong>Measured on {report.samples} samples only:</strong> below {RECOMMENDED_SAMPLES} the figures "
        "are not comparable with others.</p>"
    )
    return (
        f'<h1>{escape(title)}</h1>\n<p class="soft">Teacher <b>{escape(report.teacher)}</b>, '
        f"{report.samples} images on the same noises for every sampler.</p>\n{warning}"
        f'<dl class="facts">{cards}</dl>'
    )


def _measured(scores: Scores) -> tuple[tuple[str, str, str], ...]:
    return (
        (scores.fd.name, _number(scores.fd.value), f"to {scores.fd.reference}"),
        ("Recall", _number(scores.recall.value), f"of {scores.recall.reference}"),
    )


def _curve(report: EvalReport, pictures: Pictures) -> str:
    worth = report.worth
    if worth is None or pictures.curve is None or pictures.curve_dark is None:
        return ""
    reading = (
        "The student lies outside the teacher's curve, so its worth is stated as a bound."
        if worth.clamped
        else f"The student's distance is the one that the teacher reaches after {worth.steps:.1f} steps."
    )
    alt = escape(worth_sentence(worth), quote=True)
    return (
        "<h2>Where the student stands</h2>\n"
        f"<p>Each blue point is the teacher itself, cut down to that many steps; the star is the student's single "
        f"pass. {reading} Lower is closer to the teacher at {report.cost.teacher.passes} steps.</p>\n<figure><picture>"
        f'<source srcset="{_data(pictures.curve_dark)}" media="(prefers-color-scheme: dark)">'
        f'<img src="{_data(pictures.curve)}" alt="{alt}" width="760"></picture></figure>'
    )


def _samples(report: EvalReport, pictures: Pictures) -> str:
    steps = report.cost.teacher.passes
    return (
        "<h2>Samples</h2>\n<p>The same place in both grids is the same noise. Nothing was picked.</p>\n"
        '<div class="pair"><figure><figcaption><b class="student">Student</b>, 1 pass</figcaption>'
        f'<img class="pixels" src="{_data(pictures.student_grid)}" alt="Samples of the student"></figure>'
        f'<figure><figcaption><b class="teacher">Teacher</b>, {steps} steps</figcaption>'
        f'<img class="pixels" src="{_data(pictures.teacher_grid)}" alt="Samples of the teacher"></figure></div>'
    )


def _strips(report: EvalReport, pictures: Pictures) -> str:
    rows = [
        (
            _timestep(part.timestep),
            *(_number(metric.value) for metric in part.metrics()),
        )
        for part in report.submodules
    ]
    first = report.submodules[0]
    header = (
        "Submodule at",
        *(f"{metric.name}, states" for metric in first.fd_state),
        *(f"{metric.name}, clean" for metric in first.fd_clean),
        "paired RMSE, states",
        "paired RMSE, clean",
    )
    return (
        "<h2>Inside the chain</h2>\n<p>Every submodule predicts the teacher's state at one timestep. Left, the states; "
        "right, the clean image that each state implies once its known share of noise is taken out: there submodules "
        "differ."
        '</p>\n<div class="pair"><figure><figcaption>States</figcaption>'
        f'<img src="{_data(pictures.strips)}" alt="States of teacher and student at every timestep"></figure>'
        "<figure><figcaption>Implied clean images</figcaption>"
        f'<img src="{_data(pictures.clean_strips)}" alt="Implied clean images of teacher and student"></figure></div>\n'
        + _table(header, rows)
        + f'<p class="soft">{first.rmse_state.n_fake} noises, the teacher at {report.solver_steps} DDIM steps. '
        "Of a student of a stochastic sampler (the paper's) only the FDs of states say something: its states are no "
        "function of the noise, so neither pairs nor implied clean images are its aim.</p>"
    )


def _training(pictures: Pictures, sentence: str) -> str:
    if pictures.training is None or pictures.training_dark is None:
        return ""
    return (
        f"<h2>Training</h2>\n<p>{escape(sentence)}</p>\n<figure><picture>"
        f'<source srcset="{_data(pictures.training_dark)}" media="(prefers-color-scheme: dark)">'
        f'<img src="{_data(pictures.training)}" alt="Margins, gradients, deviations, spread and inputs in training">'
        "</picture></figure>"
    )


def _metrics(report: EvalReport) -> str:
    if not report.distances:
        return (
            "<h2>Metrics</h2>\n<p>No distances: no extractor was chosen for these images (<code>--features</code>).</p>"
        )
    table = []
    for distances in report.distances:
        table.append(_metrics_table(distances, "to_teacher"))
        if distances.to_real is not None:
            table.append(_metrics_table(distances, "to_real"))
    return (
        "<h2>Metrics</h2>\n<p>From the same code, features and noises for every row. FD and KD: lower is better; the "
        "others: higher is better.</p>\n" + "\n".join(table)
    )


def _metrics_table(distances: Distances, against: str) -> str:
    student: Scores = getattr(distances, against)
    rows = [("student, 1 pass", *(_number(metric.value) for metric in student.metrics()))]
    for point in distances.curve:
        scores: Scores | None = getattr(point, against)
        if scores is not None:
            steps = f"teacher, {point.steps} step{'s' * (point.steps > 1)}"
            rows.append((steps, *(_number(metric.value) for metric in scores.metrics())))
    header = (f"against {student.fd.reference}", *(metric.name.split("(")[0] for metric in student.metrics()))
    counts = f'<p class="soft">{_protocol_of(student.fd)}</p>'
    return _table(header, rows, marked=0) + counts


def _protocol_of(metric: Metric) -> str:
    return (
        f"{metric.n_fake} samples against {metric.n_ref} of {escape(metric.reference)}, features of extractor "
        f"<b>{escape(metric.extractor)}</b> (sha256 <code>{metric.extractor_sha256[:16]}…</code>)"
    )


def _costs(report: EvalReport) -> str:
    student, teacher = report.cost.student, report.cost.teacher
    rows: list[tuple[str, ...]] = [
        ("Network passes per image", str(student.passes), str(teacher.passes), _ratio(teacher.passes, student.passes)),
        ("Parameters", _count(student.params), _count(teacher.params), _ratio(teacher.params, student.params)),
        ("Multiply-adds per image", _count(student.macs), _count(teacher.macs), _ratio(teacher.macs, student.macs)),
    ]
    for batch in student.latency_ms:
        ours, theirs = student.latency_ms[batch], teacher.latency_ms[batch]
        rows.append((f"Latency, batch {batch}", f"{ours:.3g} ms", f"{theirs:.3g} ms", _ratio(theirs, ours)))
    threads = f"{report.cost.threads} torch thread{'s' * (report.cost.threads > 1)}"
    return (
        "<h2>Cost</h2>\n"
        + _table(("", "student", f"teacher@{teacher.passes}", "teacher / student"), rows)
        + f'<p class="soft">Medians of {_repeats(student)} (student) and {_repeats(teacher)} (teacher) runs, '
        f"{threads}, {escape(report.cost.device)}.</p>"
    )


def _protocol(report: EvalReport, trajectories: str) -> str:
    facts = [
        ("Student weights", f"sha256 <code>{report.student_sha256}</code>"),
        ("Student config", f"sha256 <code>{report.student_config_digest}</code>"),
        ("Shape", " x ".join(map(str, report.sample_shape))),
        ("Time grid", " → ".join(map(str, report.timesteps))),
        ("Teacher", f"{escape(report.teacher)}, fingerprint <code>{report.teacher_fingerprint}</code>"),
        *(("Reference", f"<code>{one.reference_digest}</code>") for one in report.distances),
        ("Noises", f"base seed {report.seed}, indices from {report.first_index}; no store holds them"),
        *(("Features", f"sha256 <code>{one.extractor_sha256}</code>") for one in report.distances),
    ]
    if trajectories:
        link = f'<a href="{escape(trajectories, quote=True)}">{escape(trajectories)}</a>'
        facts.append(("Trained on", f"{link}, where <code>advkd browse</code> serves that store"))
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f'<h2>Protocol</h2>\n<dl class="protocol">{rows}</dl>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=student' if index == marked else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for index, row in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _timestep(timestep: int) -> str:
    return f"t = {timestep}" if timestep else "clean"


def _number(value: float) -> str:
    """Three significant digits, never in scientific notation."""
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


def _repeats(cost: Cost) -> str:
    return "/".join(map(str, cost.repeats.values()))
