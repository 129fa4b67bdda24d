from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advkd.registry.gate import Figures, gate

CHAMPION = Figures(
    fd=20.0,
    recall=0.80,
    fd_real=40.0,
    recall_real=0.60,
    real_sha256="d" * 64,
    teacher_fingerprint="a" * 64,
    extractor_sha256="e" * 64,
    samples=2048,
    not_comparable="",
)


def test_the_first_version_becomes_champion() -> None:
    assert gate(CHAMPION, None).promote
    assert gate(CHAMPION, None).reason == "there was no champion"


@pytest.mark.parametrize(
    ("fd", "recall", "promote", "reason"),
    [
        (20.0, 0.80, True, "not worse"),
        (19.0, 0.785, True, "not worse"),
        (20.01, 0.99, False, "FD is worse than the champion's: FD to the teacher 20.01 against 20"),
        (10.0, 0.77, False, "recall is worse by more than 0.02"),
        (float("nan"), 0.9, False, "FD is worse"),
        (10.0, float("nan"), False, "recall is worse"),
    ],
)
def test_fd_must_not_be_worse_and_recall_not_by_more_than_the_margin(
    fd: float, recall: float, promote: bool, reason: str
) -> None:
    decision = gate(replace(CHAMPION, fd=fd, recall=recall), CHAMPION)
    assert decision.promote is promote
    assert decision.reason.startswith(reason)


def test_what_is_not_comparable_is_never_crowned() -> None:
    few = replace(CHAMPION, fd=1.0, recall=1.0, samples=64, not_comparable="64 images")
    for champion in (None, CHAMPION, few):
        decision = gate(few, champion)
        assert not decision.promote
        assert decision.reason == "not comparable: 64 images; evaluate it with more"
    # One that was promoted by hand is replaced by the first with good figures.
    assert gate(CHAMPION, few).promote


def test_a_student_without_recall_is_never_crowned() -> None:
    for champion in (None, CHAMPION):
        decision = gate(replace(CHAMPION, fd=1.0, recall=0.0), champion)
        assert not decision.promote
        assert decision.reason.startswith("recall is 0")


def test_the_margin_is_stated_by_the_caller() -> None:
    candidate = replace(CHAMPION, recall=0.75)
    assert not gate(candidate, CHAMPION).promote
    assert gate(candidate, CHAMPION, recall_margin=0.06).promote
    with pytest.raises(ValueError, match=r"recall_margin must not be negative, got -0.1; use 0.02"):
        gate(candidate, CHAMPION, recall_margin=-0.1)


def test_students_of_different_teachers_are_compared_on_real_images() -> None:
    other = replace(CHAMPION, teacher_fingerprint="b" * 64, fd=1.0, recall=1.0)
    assert not gate(replace(other, fd_real=41.0), CHAMPION).promote
    assert gate(replace(other, fd_real=39.0), CHAMPION).promote
    elsewhere = gate(replace(other, fd_real=39.0, real_sha256="c" * 64), CHAMPION)
    assert not elsewhere.promote
    assert elsewhere.reason.endswith("and other real images; evaluate both with the same --real")
    # Of one teacher, real images do not matter.
    assert gate(replace(CHAMPION, real_sha256=""), CHAMPION).promote
    unknown = gate(replace(other, fd_real=None, recall_real=None), CHAMPION)
    assert unknown.reason == (
        "not comparable: another teacher than the champion's and no real images; register students of different "
        "teachers under different model names"
    )
    assert not unknown.promote


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"samples": 256}, "; evaluate both with the same --samples"),
        ({"extractor_sha256": "f" * 64}, "; evaluate both with the same version of advkd"),
    ],
)
def test_what_was_measured_otherwise_is_never_promoted(change: dict[str, object], remedy: str) -> None:
    decision = gate(replace(CHAMPION, fd=0.1, **change), CHAMPION)
    assert not decision.promote
    assert decision.reason.startswith(f"not comparable: {next(iter(change))} is")
    assert decision.reason.endswith(remedy)


def test_what_was_not_measured_never_takes_over_and_makes_way() -> None:
    unmeasured = replace(CHAMPION, fd=None, recall=None, fd_real=None, recall_real=None, extractor_sha256="")
    for champion in (CHAMPION, unmeasured, None):
        decision = gate(unmeasured, champion)
        assert not decision.promote
        assert decision.reason == "not comparable: it was evaluated without features; evaluate it with --features"
    assert gate(CHAMPION, unmeasured).reason == "the champion was evaluated without features"
    assert gate(CHAMPION, unmeasured).promote


@given(fd=st.floats(0, 1e6), recall=st.floats(0, 1, exclude_min=True))
def test_a_version_is_never_worse_than_itself(fd: float, recall: float) -> None:
    figures = replace(CHAMPION, fd=fd, recall=recall)
    assert gate(figures, figures, recall_margin=0.0).promote
