"""Alarms: quiet on what is healthy, and a reason, a checkpoint and a setting where a run has gone wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import advkd.training.observer as watch
from advkd.training.alarms import (
    AlarmBounds,
    CollapseError,
    ExplodingDiscriminatorError,
    NonFiniteLossError,
    TrainingAlarmError,
    collapsed,
    exploding,
    raise_alarms,
)
from advkd.training.checkpoint import checkpoints
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.monitors import observe
from advkd.training.observation import Observation
from advkd.training.out_of_memory import StepMemoryError, memory_hint, next_accumulate
from tests.advkd.conftest import tiny_train
from tests.advkd.training.test_loop import run
from tests.advkd.training.test_monitors import observation, submodule


def spreads(*values: float | None, playing: bool = True) -> list[Observation]:
    return [
        observation(submodule(spread=value, margin=0.5 if playing else None), samples=100 * (1 + index))
        for index, value in enumerate(values)
    ]


def games(*values: tuple[float, float]) -> list[Observation]:
    return [
        observation(submodule(margin=margin), discriminator_gradient=norm, samples=100 * (1 + index))
        for index, (margin, norm) in enumerate(values)
    ]


# -- judgements -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "bad"),
    [
        ([], 0),
        (spreads(0.9, 0.8, 0.7), 0),
        (spreads(0.9, 0.1), 1),
        (spreads(0.9, 0.1, 0.29, 0.0), 3),
        (spreads(0.9, 0.1, 0.1, 0.3), 0),
        (spreads(0.1, 0.9, 0.1), 1),
        (spreads(0.0, 0.1, 0.1), 0),
        (spreads(0.4, 0.1, 0.1), 0),
        (spreads(0.4, 0.1, 1e-3, 0.0), 2),
        (spreads(0.4, 1e-3, 1e-3, playing=False), 2),
        (spreads(0.9, 0.1, 0.1, playing=False), 0),
        (spreads(0.9, None, None), 0),
        ([*spreads(0.9, playing=False), *spreads(0.1, 0.1)], 2),
    ],
    ids=[
        "nothing",
        "varied",
        "one",
        "three",
        "recovered",
        "after it was",
        "never varied",
        "hardly varied",
        "constant",
        "constant before the game",
        "before the game",
        "single images",
        "over the phase's change",
    ],
)
def test_collapse(seen: Sequence[Observation], bad: int) -> None:
    assert len(collapsed(seen)) == bad


def test_a_submodule_that_has_just_begun_has_not_collapsed() -> None:
    """As in a method that adds one submodule after the other: each begins without any variety of its own."""
    first = [observation(submodule(spread=0.9), samples=100)]
    second = [observation(submodule(spread=0.9), submodule(spread=0.1), samples=200 + k) for k in range(4)]
    assert not collapsed([*first, *second])
    varied = observation(submodule(spread=0.9), submodule(spread=0.5), samples=300)
    assert len(collapsed([*first, *second, varied, *second])) == 4


@pytest.mark.parametrize(
    ("seen", "bad"),
    [
        (games((1.0, 0.1), (-2.0, 5.0)), 0),
        (games((1.0, 0.1), (30.0, 0.1), (-30.0, 0.1)), 2),
        (games((1.0, 0.1), (1.0, 1e6), (30.0, 0.1), (1.0, 1e5)), 3),
        (games((30.0, 0.1), (30.0, 0.1), (1.0, 0.1)), 0),
        ([observation(submodule(margin=None), discriminator_gradient=None)], 0),
        ([observation(submodule(margin=99.0), submodule(margin=0.0))], 1),
    ],
)
def test_explosion(seen: Sequence[Observation], bad: int) -> None:
    assert len(exploding(seen)) == bad


def test_two_in_a_row_stop_nothing_and_three_do(tmp_path: Path) -> None:
    raise_alarms(tiny_train(), spreads(0.9, 0.1, 0.1), tmp_path)
    with pytest.raises(
        CollapseError,
        match=r"must stay 0\.3 times as varied as its teacher's, got 0\.1, 0\.2, 0\.1 in 3 observations in a "
        r"row, after 200 to 400 samples; no checkpoint is left from before the last good observation, at 100 samples; "
        r"lower adversarial_weight \(0\.5\) or learning_rate \(0\.001\), or raise penalty_weight \(0\.05\), and run",
    ):
        raise_alarms(tiny_train(), spreads(0.9, 0.1, 0.2, 0.1), tmp_path)
    raise_alarms(tiny_train(), games((1.0, 1.0), (50.0, 1.0), (50.0, 1.0)), tmp_path)
    with pytest.raises(
        ExplodingDiscriminatorError,
        match=r"margins must stay within 20 logits .*, got 50, 60, 50 and 1, 2, 3 in 3 .*; "
        r"lower discriminator_learning_rate \(0\.0002\) or",
    ):
        raise_alarms(tiny_train(), games((1.0, 1.0), (50.0, 1.0), (60.0, 2.0), (50.0, 3.0)), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"spread": 0.6}, {"spread": 0.001}, {"constant": -0.1}, {"margin": 0.0}, {"in_a_row": 0}]
)
def test_bounds_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AlarmBounds must have 0 <= constant"):
        AlarmBounds(**wrong)


def test_all_alarms_are_one_family() -> None:
    for kind in (NonFiniteLossError, CollapseError, ExplodingDiscriminatorError):
        assert issubclass(kind, TrainingAlarmError)
    assert issubclass(TrainingAlarmError, ArithmeticError)


# -- in a run ---------------------------------------------------------------------------------------------------------


def test_a_healthy_run_is_quiet(mixture_store: str, tmp_path: Path) -> None:
    assert run(tiny_train(monitor_every=8), mixture_store, tmp_path)[-1].samples == 96


def replaced(monkeypatch: pytest.MonkeyPatch, seen: dict[int, Observation]) -> None:
    """Observations as they are, but for those at some instants."""

    def observed(method: Any, batch: Any, rows: int) -> Observation:
        found = observe(method, batch, rows)
        return seen.get(found.samples, found)

    monkeypatch.setattr(watch, "observe", observed)


def test_no_checkpoint_is_written_once_a_run_looks_bad(
    mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are due at 24, 48, 72 and 96; it looks bad from 64 on, and what is there still loads."""
    bad = {at: observation(submodule(margin=99.0), samples=at) for at in (64, 72, 80)}
    replaced(monkeypatch, bad)
    spec = tiny_train(monitor_every=8)
    with pytest.raises(
        ExplodingDiscriminatorError,
        match=r"after 64 to 80 samples; the last good checkpoint is .*/checkpoints/000000000048, and .* 56 samples",
    ):
        run(spec, mixture_store, tmp_path)
    assert [int(path.name) for path in checkpoints(tmp_path)] == [24, 48]
    assert not (tmp_path / "student").exists()
    with pytest.raises(ExplodingDiscriminatorError, match="after 64 to 80 samples"):
        run(spec, mixture_store, tmp_path)
    monkeypatch.undo()
    assert run(spec, mixture_store, tmp_path)[-1].samples == 96


def test_a_checkpoint_after_the_last_good_observation_is_not_called_good(
    mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observed at 40, 56, ...: nobody knows of 48, which was written between a good observation and a bad one."""
    replaced(monkeypatch, {at: observation(submodule(margin=99.0), samples=at) for at in (60, 80, 96)})
    with pytest.raises(ExplodingDiscriminatorError, match=r"checkpoints/000000000024, and what .* at 40 samples"):
        run(tiny_train(monitor_every=20, batch_size=4), mixture_store, tmp_path)
    assert [int(path.name) for path in checkpoints(tmp_path)] == [24, 48]


def test_a_run_that_recovers_goes_on(mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, {at: observation(submodule(margin=99.0), samples=at) for at in (64, 72, 88, 96)})
    assert run(tiny_train(monitor_every=8), mixture_store, tmp_path)[-1].samples == 96
    assert [int(path.name) for path in checkpoints(tmp_path)] == [48, 96]


def test_what_is_observed_must_be_finite(mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, {32: observation(submodule(student_std=float("inf")), samples=32)})
    with pytest.raises(
        NonFiniteLossError,
        match=r"infinity for submodules\[0\]\.student_std after 32 samples; the last good checkpoint is .*0024; lower",
    ):
        run(tiny_train(monitor_every=8), mixture_store, tmp_path)
    assert (tmp_path / watch.LOG).read_text().count("\n") == 3


# -- memory -----------------------------------------------------------------------------------------------------------

FAILURES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:66] . DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_step_that_does_not_fit_names_accumulate(
    mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def step(self: LayerwiseMethod, batch: object) -> None:
        raise failure

    monkeypatch.setattr(LayerwiseMethod, "step", step)
    with pytest.raises(
        StepMemoryError,
        match=r"must fit in memory, got ['\"].+['\"] with batch_size 8 and accumulate 2 \(4 samples at a time .*; "
        r"set accumulate to 4, which computes the same batch in parts of 2, or lower batch_size; a run that has a",
    ):
        run(tiny_train(accumulate=2), mixture_store, tmp_path)


def test_memory_errors_are_one_line_of_the_command() -> None:
    assert issubclass(StepMemoryError, OSError)
    message = "lower the student's width: a part of a batch is one sample already"
    with pytest.raises(StepMemoryError, match=message), memory_hint(tiny_train(accumulate=8), rows=8):
        raise MemoryError


def test_other_failures_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), memory_hint(tiny_train(), rows=8):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("rows", "accumulate", "expected"), [(64, 1, 2), (64, 2, 4), (12, 4, 6), (7, 1, 7), (7, 7, None), (1, 1, None)]
)
def test_the_next_divisor(rows: int, accumulate: int, expected: int | None) -> None:
    assert next_accumulate(rows, accumulate) == expected
