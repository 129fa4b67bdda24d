"""The gate: decides whether a new version replaces the champion, as a pure function of comparable figures."""

from dataclasses import dataclass

from advkd.evaluation import EvalReport, Metric

RECALL_MARGIN = 0.02
_REMEDIES = {
    "extractor_sha256": "evaluate both with the same version of advkd",
    "samples": "evaluate both with the same --samples",
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures that the gate compares, and the protocol by which they were measured.

    Attributes:
        fd: Frechet distance to the teacher's fine solution, in the headline's features; None if not measured.
        recall: recall of that; None if not measured.
        fd_real: Frechet distance to real images; None if there are none.
        recall_real: recall of real images; None if there are none.
        real_sha256: sha256 of these; "" if there are none.
        teacher_fingerprint: fingerprint of the teacher in the evaluation.
        extractor_sha256: sha256 of the features' extractor, "" without features.
        samples: number of samples.
        not_comparable: why the figures are no headline, such as "64 images"; "" if they are one.
    """

    fd: float | None
    recall: float | None
    fd_real: float | None
    recall_real: float | None
    real_sha256: str
    teacher_fingerprint: str
    extractor_sha256: str
    samples: int
    not_comparable: str


@dataclass(frozen=True)
class Decision:
    """Whether to promote a version, and the reason as a sentence."""

    promote: bool
    reason: str


def figures_of(report: EvalReport) -> Figures:
    """Returns the gate's figures of a report."""
    headline = report.headline
    teacher, real = (None, None) if headline is None else (headline.to_teacher, headline.to_real)
    return Figures(
        fd=None if teacher is None else teacher.fd.value,
        recall=_value(None if teacher is None else teacher.recall),
        fd_real=None if real is None else real.fd.value,
        recall_real=_value(None if real is None else real.recall),
        real_sha256="" if headline is None else headline.real_sha256,
        teacher_fingerprint=report.teacher_fingerprint,
        extractor_sha256="" if headline is None else headline.extractor_sha256,
        samples=report.samples,
        not_comparable="" if headline is None else report.not_comparable,
    )


def _value(metric: Metric | None) -> float | None:
    return None if metric is None else metric.value


def gate(candidate: Figures, champion: Figures | None, recall_margin: float = RECALL_MARGIN) -> Decision:
    """Promotes the candidate if FD is not worse, and recall is not worse by more than `recall_margin`.

    Figures against the teacher are compared if both versions have the same teacher, else those against the same real
    images. A candidate that was measured by another protocol is never promoted, nor one without figures, with figures
    that are no headline, or with a recall of 0, even if it is the first version of its model. A champion without
    figures, or with such figures, promoted by hand, is replaced by the first version with good ones.

    Raises:
        ValueError: the margin is negative.
    """
    if recall_margin < 0.0:
        raise ValueError(f"recall_margin must not be negative, got {recall_margin}; use {RECALL_MARGIN}")
    if candidate.fd is None or candidate.recall is None:
        return Decision(
            promote=False, reason="not comparable: it was evaluated without features; evaluate it with --features"
        )
    if candidate.not_comparable:
        return Decision(promote=False, reason=f"not comparable: {candidate.not_comparable}; evaluate it with more")
    if candidate.recall == 0.0:
        return Decision(
            promote=False, reason="recall is 0: its images are nowhere near the teacher's; train it for longer"
        )
    if champion is None:
        return Decision(promote=True, reason="there was no champion")
    if champion.fd is None or champion.recall is None:
        return Decision(promote=True, reason="the champion was evaluated without features")
    if champion.not_comparable:
        return Decision(promote=True, reason=f"the champion's figures are not comparable: {champion.not_comparable}")
    for name, remedy in _REMEDIES.items():
        theirs, ours = getattr(champion, name), getattr(candidate, name)
        if theirs != ours:
            return Decision(
                promote=False,
                reason=f"not comparable: {name} is {ours} here and {theirs} for the champion; {remedy}",
            )
    if candidate.teacher_fingerprint == champion.teacher_fingerprint:
        return _compare(candidate.fd, champion.fd, candidate.recall, champion.recall, recall_margin, "to the teacher")
    if None in (candidate.fd_real, candidate.recall_real, champion.fd_real, champion.recall_real):
        return Decision(
            promote=False,
            reason="not comparable: another teacher than the champion's and no real images; register students of "
            "different teachers under different model names",
        )
    if candidate.real_sha256 != champion.real_sha256:
        return Decision(
            promote=False,
            reason="not comparable: another teacher than the champion's and other real images; evaluate both with the "
            "same --real",
        )
    assert candidate.fd_real is not None
    assert candidate.recall_real is not None
    assert champion.fd_real is not None
    assert champion.recall_real is not None
    return _compare(
        candidate.fd_real,
        champion.fd_real,
        candidate.recall_real,
        champion.recall_real,
        recall_margin,
        "to real images (the teachers differ)",
    )


def _compare(fd: float, champion_fd: float, recall: float, champion_recall: float, margin: float, to: str) -> Decision:
    figures = f"FD {to} {fd:.4g} against {champion_fd:.4g}, recall {recall:.3f} against {champion_recall:.3f}"
    if not fd <= champion_fd:
        return Decision(promote=False, reason=f"FD is worse than the champion's: {figures}")
    if not recall >= champion_recall - margin:
        return Decision(promote=False, reason=f"recall is worse by more than {margin:g}: {figures}")
    return Decision(promote=True, reason=f"not worse than the champion: {figures}")
