"""The variants that `benchmarks.recipe` compares: each is the base with something changed."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from advkd.students import StudentSpec
from advkd.training.spec import TrainSpec


def grid(*inner: int) -> tuple[int, ...]:
    """The noise, states after so many of 50 steps, and the clean state."""
    return (999, *(999 - 20 * step for step in inner), 0)


@dataclass(frozen=True)
class Variant:
    """A recipe to measure; budget, seed and the average's horizon are filled in by the run."""

    name: str
    train: TrainSpec
    ema_share: float = 0.05

    def facts(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"train": asdict(self.train), "ema_share": self.ema_share}


_BASE = TrainSpec(student=StudentSpec(width=48, blocks=2), timesteps=grid(12, 25, 38), window=16)


def _with(name: str, student: dict[str, Any] | None = None, ema_share: float = 0.05, **changes: Any) -> Variant:
    return Variant(name, replace(_BASE, student=replace(_BASE.student, **(student or {})), **changes), ema_share)


BASE = (Variant("base", _BASE),)
GROUPS: dict[str, tuple[Variant, ...]] = {
    "student": (
        _with("width 32", {"width": 32}),
        _with("patch 4, width 48", {"patch": 4}),
        _with("patch 4, width 64, blocks 1", {"patch": 4, "width": 64, "blocks": 1}),
        _with("depthwise, width 64", {"kind": "depthwise", "width": 64}),
        _with("attention, width 48", {"kind": "attention"}),
        _with("attention, width 64, blocks 1", {"kind": "attention", "width": 64, "blocks": 1}),
    ),
    "submodules": (
        _with("K 1, blocks 8", {"blocks": 8}, timesteps=grid()),
        _with("K 2, blocks 4", {"blocks": 4}, timesteps=grid(25)),
        _with("K 8, blocks 1", {"blocks": 1}, timesteps=grid(6, 12, 19, 25, 31, 38, 44)),
    ),
    "grid": (
        _with("late states", timesteps=grid(25, 38, 46)),
        _with("log-SNR", timesteps=grid(18, 33, 44)),
        _with("early states", timesteps=grid(6, 12, 25)),
    ),
}
