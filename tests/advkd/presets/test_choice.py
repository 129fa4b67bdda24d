"""A wish is kept whole: what cannot be taken into account is refused, and devices and states follow from it."""

from dataclasses import replace

import pytest

from advkd.presets import PRESETS, Budget, Changes, Target, Wish, choose, passes_at_once
from advkd.presets import budget as budgets
from advkd.teachers import load_teacher
from advkd.training import PaperSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec, UnseenTeacher


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"train": TrainSpec(), "changes": Changes(width=8)}, "changes and a target are of a preset's training"),
        ({"train": TrainSpec(), "target": Target(max_parameters=9)}, "changes and a target are of a preset's training"),
        (
            {"precompute": PrecomputeSpec(), "changes": Changes(captures=2)},
            r"changes.captures is of a preset's precompute",
        ),
    ],
)
def test_what_would_be_dropped_is_refused(wish: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Wish(**wish)  # type: ignore[arg-type]


def test_a_device_is_that_of_precompute_and_training() -> None:
    base = replace(PRESETS["quick"].precompute, teacher="mixture")
    choice = choose(Wish(preset="quick", device="cuda"), base, load_teacher("mixture"))
    assert (choice.precompute.device, choice.train.device) == ("cuda", "cuda")
    own = choose(Wish(preset="quick", train=TrainSpec(device="cpu"), device="cuda"), base, load_teacher("mixture"))
    assert own.train.device == "cuda"
    assert choose(Wish(preset="quick"), base, load_teacher("mixture")).train.device == "cpu"


@pytest.mark.parametrize(("captures", "sides"), [(None, (8, 8, 16, 16)), (3, (8, 8, 16)), (6, (8, 8, 16, 16, 16, 16))])
def test_the_paper_s_pyramid_follows_from_the_number_of_states(captures: int | None, sides: tuple[int, ...]) -> None:
    base = replace(PRESETS["paper"].precompute, teacher="mixture")
    choice = choose(Wish(preset="paper", changes=Changes(captures=captures)), base, load_teacher("mixture"))
    assert choice.store.resolutions == ((16, 16), *((side, side) for side in sides))
    assert isinstance(choice.train, PaperSpec)


def test_passes_on_a_gpu_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.presets.speed.os.cpu_count", lambda: 16)
    teacher = UnseenTeacher.of("3x32x32")
    assert passes_at_once(teacher) == 16
    object.__setattr__(teacher, "device", "cuda")
    assert passes_at_once(teacher) == 1


def test_a_budget_on_a_gpu_counts_passes_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "step_seconds", lambda *_: 0.002)
    monkeypatch.setattr(budgets, "sample_seconds", lambda *_: 0.001)
    base, wish = replace(PRESETS["quick"].precompute, teacher="mixture"), Wish(preset="quick", budget=Budget(60.0))
    bought = {}
    for at_once in (1, 2):
        monkeypatch.setattr(budgets, "passes_at_once", lambda _, at_once=at_once: at_once)
        bought[at_once] = choose(wish, base, load_teacher("mixture")).precompute.samples
    assert bought[2] == pytest.approx(2 * bought[1], rel=0.05)
