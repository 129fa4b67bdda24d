"""A target bounds the student, a budget the time; both say what is missing where they cannot be met."""

from dataclasses import replace
from pathlib import Path

import pytest

from advkd.presets import PRESETS, Budget, Target, Wish, choose, fitted, pass_multiply_adds, student_cost
from advkd.presets import budget as budgets
from advkd.presets.targets import within
from advkd.teachers import load_teacher
from advkd.training import TrainSpec
from advkd.trajectories import PrecomputeSpec
from tests.advkd.presets.test_grids import store_of


def base(name: str = "quick", teacher: str = "digits") -> PrecomputeSpec:
    return replace(PRESETS[name].precompute, teacher=teacher)


def test_a_student_s_counts_are_those_of_its_layers() -> None:
    store = store_of("1x16x16")
    spec = fitted(PRESETS["quick"], store)
    # Stem and K = 4 submodules of two blocks of two convolutions at 8x8, heads included; one head computes.
    kernels = 4 * 32 * 9 + 16 * 32 * 32 * 9
    assert student_cost(spec, store).parameters == kernels + 32 + 16 * 32 + 4 * (32 * 4 * 9 + 4)
    assert student_cost(spec, store).multiply_adds == 64 * (kernels + 32 * 4 * 9)


def test_the_widest_student_within_the_bounds_is_chosen() -> None:
    store = store_of("3x32x32")
    spec = fitted(PRESETS["quick"], store)
    assert isinstance(spec, TrainSpec)
    narrow = within(Target(max_parameters=200_000), spec, store, lambda: None)
    assert narrow.student.width < spec.student.width
    assert student_cost(narrow, store).parameters <= 200_000
    wider = replace(narrow, student=replace(narrow.student, width=narrow.student.width + 8))
    assert student_cost(wider, store).parameters > 200_000
    assert within(Target(), spec, store, lambda: None) == spec


def test_of_two_bounds_both_are_kept() -> None:
    store = store_of("1x16x16")
    both = Target(max_parameters=150_000, max_passes=0.05)
    spec = within(both, fitted(PRESETS["quick"], store), store, lambda: 60_669_952)
    cost = student_cost(spec, store)
    assert cost.multiply_adds <= 0.05 * 60_669_952
    assert cost.parameters <= 150_000
    assert spec == within(Target(max_passes=0.05), fitted(PRESETS["quick"], store), store, lambda: 60_669_952)


def test_passes_are_the_teacher_s() -> None:
    store, each = store_of("1x16x16"), pass_multiply_adds(load_teacher("digits"))
    assert each == 60_669_952
    spec = within(Target(max_passes=0.1), fitted(PRESETS["quick"], store), store, lambda: each)
    assert student_cost(spec, store).multiply_adds <= 0.1 * each


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            Target(max_parameters=10),
            r"max_parameters=10: the narrowest .* of width 8, has 10,\d+ parameters where 10 are",
        ),
        (Target(max_passes=1e-4), r"max_passes=0.0001: the narrowest .* multiply-adds where 6,067 are allowed"),
    ],
)
def test_a_target_that_cannot_be_met_says_the_nearest(target: Target, message: str) -> None:
    store = store_of("1x16x16")
    with pytest.raises(ValueError, match=message):
        within(target, fitted(PRESETS["quick"], store), store, lambda: 60_669_952)


def test_passes_of_a_teacher_without_a_network_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a teacher with a network"):
        choose(Wish(preset="quick", target=Target(max_passes=0.5)), base(teacher="mixture"), load_teacher("mixture"))
    with pytest.raises(ValueError, match="must be positive and finite, got -1"):
        Target(max_passes=-1)


def test_a_costly_teacher_has_fewer_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher("digits")
    assert choose(Wish(preset="quick"), base(), teacher).precompute.samples == 5120
    monkeypatch.setattr("advkd.presets.choice.pass_multiply_adds", lambda teacher: 100 * 60_669_952)
    chosen = choose(Wish(preset="quick"), base(), teacher).precompute.samples
    assert chosen == PRESETS["quick"].fewest


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("1d", 86400)]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert Budget.parse(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 minutes", "0s", "-3m", "1h30"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a budget must be a time such as 90s, 30m or 1h30m"):
        Budget.parse(text)


def measured(monkeypatch: pytest.MonkeyPatch, step: float, seen: float) -> None:
    monkeypatch.setattr(budgets, "step_seconds", lambda *_: step)
    monkeypatch.setattr(budgets, "sample_seconds", lambda *_: seen)
    monkeypatch.setattr(budgets, "passes_at_once", lambda _: 2)


@pytest.mark.parametrize("seconds", [30.0, 60.0, 300.0, 3600.0])
def test_a_budget_is_spent_and_not_exceeded(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    measured(monkeypatch, 0.002, 0.001)
    chosen = choose(Wish(preset="quick", budget=Budget(seconds)), base(), load_teacher("digits"))
    spent = chosen.precompute.samples * 0.01 + chosen.train.samples * 0.001
    assert 0.8 * seconds < spent <= seconds
    assert chosen.train.samples >= chosen.precompute.samples >= 1000
    assert chosen.train.samples % chosen.train.batch_size == 0


def test_a_budget_too_short_for_an_epoch_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 0.002, 0.001)
    with pytest.raises(
        ValueError, match=r"one epoch of 1,024 .* got 5\.0 s where 10 s of precompute and 1\.0 s of training"
    ):
        choose(Wish(preset="quick", budget=Budget(5.0)), base(), load_teacher("digits"))


def test_a_repeated_run_finds_what_the_first_one_bought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured(monkeypatch, 0.002, 0.001)
    wish, teacher = Wish(preset="quick", budget=Budget(60.0)), load_teacher("digits")
    first = choose(wish, base(), teacher, str(tmp_path))
    measured(monkeypatch, 0.004, 0.002)
    assert choose(wish, base(), teacher, str(tmp_path)) == first
    assert choose(wish, base(), teacher) != first
