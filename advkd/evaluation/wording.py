"""What a report says in its first paragraph: what was measured, against what, and whether it is more than noise."""

import math
from collections.abc import Sequence

from advkd.evaluation.curve import solver_text
from advkd.evaluation.results import COMPARABLE_SAMPLES, Distances, EvalReport
from advkd.evaluation.scores import Metric
from advkd.evaluation.worth import Worth, worth_passes

CLEAR = 2.0
"""Deviations by which a difference is called larger than the noise."""


def measured_text(report: EvalReport) -> str:
    """Returns the first paragraph of a report as plain text."""
    headline = report.headline
    compared = (
        f"{report.samples} images of this student were compared with as many of its teacher {report.teacher} from the "
        f"same noises: {report.target_steps} steps of {solver_text(report.target_solver)}, a fine solution."
    )
    if headline is None:
        return f"{compared} Without an extractor there are no distances, so no worth."
    parts = [compared, _distance(headline)]
    if report.not_comparable:
        parts.append(
            f"Not comparable: {report.not_comparable}; below {COMPARABLE_SAMPLES} a distance depends on the number of "
            "images more than on the student, so no worth is stated."
        )
    else:
        parts.append(_worth(headline))
    if headline.to_real is not None and headline.teacher_to_real is not None:
        real = headline.to_real.fd
        parts.append(
            f"To {_counted(real)} the student's distance is {_pm(real.value, real.deviation)}, the teacher's "
            f"{number_text(headline.teacher_to_real.fd.value)}."
        )
        if report.real_remarks:
            parts.append(report.real_remarks)
    if headline.rank_deficient:
        parts.append(
            "A compared set has no more images than features have dimensions, so the Fréchet distance depends mostly "
            "on the number of images."
        )
    if headline.target_error >= headline.to_teacher.fd.value / 10:
        parts.append(
            f"The target itself is known to {headline.target_error:.2g} (its distance to half as many steps), which is "
            "more than a tenth of the student's distance: read it as a bound."
        )
    return " ".join(parts)


def compared_text(names: Sequence[str], reports: Sequence[EvalReport]) -> str:
    """Returns the first paragraph of a page that compares students, the nearest to the teacher first."""
    first = reports[0]
    said = (
        f"{first.samples} images of each student were compared with as many of their teacher {first.teacher} from the "
        f"same noises: {first.target_steps} steps of {solver_text(first.target_solver)}, a fine solution."
    )
    if first.headline is None:
        return f"{said} Without an extractor they are sorted by their paired error."
    said = f"{said} They are sorted by the Fréchet distance in the features of {first.headline.extractor}."
    if first.headline.to_real is not None:
        said = f"{said} Real images are {_counted(first.headline.to_real.fd)}. {first.real_remarks}".rstrip()
    if first.not_comparable:
        return f"{said} Not comparable with others: {first.not_comparable}."
    close = [
        f"{names[k]} and {names[k + 1]}"
        for k in range(len(reports) - 1)
        if not _apart(reports[k].headline, reports[k + 1].headline)
    ]
    if close:
        return f"{said} The difference between {', '.join(close)} is no larger than the noise."
    return f"{said} All differences between neighbours are larger than the noise."


def _apart(a: Distances | None, b: Distances | None) -> bool:
    """Whether two distances differ by more than their noise; as their noises are the same, this errs on caution."""
    if a is None or b is None:
        return False
    deviations = [each.to_teacher.fd.deviation or 0.0 for each in (a, b)]
    return b.to_teacher.fd.value - a.to_teacher.fd.value > CLEAR * math.hypot(*deviations)


def _distance(headline: Distances) -> str:
    fd = headline.to_teacher.fd
    said = f"In the features of {headline.extractor} their Fréchet distance is {_pm(fd.value, fd.deviation)}"
    if fd.deviation is None or fd.deviation == 0:
        return f"{said}."
    times = fd.value / fd.deviation
    if times < CLEAR:
        return f"{said}, no larger than the noise."
    return f"{said}, so the difference is larger than the noise ({times:.0f} standard deviations)."


def _worth(headline: Distances) -> str:
    solvers = ", ".join(dict.fromkeys(solver_text(point.solver) for point in headline.curve))
    ddim = "" if headline.worth_ddim is None else f"; DDIM alone needs {_passes(headline.worth_ddim)}"
    needed = f"{_passes(headline.worth)} of the teacher{_interval(headline)}"
    return f"For that distance the best of the solvers {solvers} needs {needed}{ddim}."


def _interval(headline: Distances) -> str:
    """The worth of distances that are smaller and larger by the noise, in brackets."""
    fd = headline.to_teacher.fd
    if not fd.deviation:
        return ""
    points = [(point.passes, point.to_target.fd.value) for point in headline.curve]
    least, most = (
        _passes(worth_passes(points, max(0.0, fd.value + apart * fd.deviation))).removesuffix(" passes")
        for apart in (CLEAR, -CLEAR)
    )
    return f" ({least} to {most} at {CLEAR:g} standard deviations of the distance)"


def _passes(worth: Worth) -> str:
    if worth.clamped:
        return f"{'fewer' if worth.passes <= 1 else 'more'} than {worth.passes:.0f}"
    return f"{worth.passes:.1f} passes"


def _counted(metric: Metric) -> str:
    return f"{metric.n_ref} images of {metric.reference}" if metric.n_ref else f"the statistics of {metric.reference}"


def _pm(value: float, deviation: float | None) -> str:
    return number_text(value) if deviation is None else f"{number_text(value)} ± {number_text(deviation)}"


def number_text(value: float) -> str:
    """Formats a number with three significant digits, never in scientific notation."""
    if value == 0.0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"
