"""The variants that `benchmarks.recipe` compares: each is the base with something changed."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from advkd.discriminators import DiscriminatorSpec
from advkd.students import StudentSpec
from advkd.training.methods.layerwise_spec import TrainSpec


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


_BASE = TrainSpec(student=StudentSpec(width=32, blocks=2), timesteps=grid(27, 40, 47), window=16)


def _with(name: str, student: dict[str, Any] | None = None, ema_share: float = 0.05, **changes: Any) -> Variant:
    return Variant(name, replace(_BASE, student=replace(_BASE.student, **(student or {})), **changes), ema_share)


BASE = Variant("base", _BASE)
GROUPS: dict[str, tuple[Variant, ...]] = {
    "controls": (
        _with("K 1, blocks 8", {"blocks": 8}, timesteps=grid()),
        _with("distillation alone", warmup=1.0),
    ),
    "learning rate": (
        _with("rate 5e-3", learning_rate=5e-3),
        _with("no decay", weight_decay=0.0),
        _with("decay 0.3", weight_decay=0.3),
    ),
    "student": (
        _with("width 24", {"width": 24}),
        _with("width 40", {"width": 40}),
        _with("width 48", {"width": 48}),
        _with("patch 4, width 64, blocks 1", {"patch": 4, "width": 64, "blocks": 1}),
    ),
    "submodules": (
        _with("K 1, blocks 8", {"blocks": 8}, timesteps=grid()),
        _with("K 2, blocks 4", {"blocks": 4}, timesteps=grid(33)),
        _with("K 8, blocks 1", {"blocks": 1}, timesteps=grid(25, 38, 44, 46, 47, 48, 49)),
        _with("deep late", {"blocks": (1, 1, 2, 4)}),
        _with("deep early", {"blocks": (4, 2, 1, 1)}),
    ),
    "grid": (
        _with("even: 12, 25, 38", timesteps=grid(12, 25, 38)),
        _with("even in log-SNR: 11, 26, 40", timesteps=grid(11, 26, 40)),
        _with("early states: 6, 12, 25", timesteps=grid(6, 12, 25)),
        _with("late states: 25, 38, 44", timesteps=grid(25, 38, 44)),
        _with("shrink 0.6: 23, 37, 45", timesteps=grid(23, 37, 45)),
        _with("shrink 0.4: 31, 43, 48", timesteps=grid(31, 43, 48)),
    ),
    "weights": (
        _with("w equal", submodule_weights=(1.0, 1.0, 1.0, 1.0)),
        _with("w last only", submodule_weights=(0.0, 0.0, 0.0, 1.0)),
        _with("w last x4", submodule_weights=(0.5, 0.5, 0.5, 4.0)),
    ),
    "phases": (
        _with("distillation alone", warmup=1.0),
        _with("game from the start", warmup=0.0),
        _with("warm-up 20 %", warmup=0.2),
        _with("warm-up 60 %", warmup=0.6),
    ),
    "adversarial": (
        _with("weight 0.25", adversarial_weight=0.25),
        _with("weight 1", adversarial_weight=1.0, adversarial_limit=0.4),
        _with("weight 2", adversarial_weight=2.0, adversarial_limit=0.8),
        _with("hinge", adversarial="hinge"),
        _with("non-saturating", adversarial="non-saturating"),
        _with("penalty 0.5", penalty_weight=0.5),
        _with("penalty 2", penalty_weight=2.0),
        _with("penalty 0.005", penalty_weight=0.005),
    ),
    "discriminator": (
        _with("discriminator 8 wide", discriminator=DiscriminatorSpec(width=8)),
        _with("discriminator 16 wide", discriminator=DiscriminatorSpec(width=16)),
        _with("discriminator 64 wide", discriminator=DiscriminatorSpec(width=64)),
        _with("discriminator rate 5e-4", discriminator_learning_rate=5e-4),
        _with("discriminator rate 1e-3", discriminator_learning_rate=1e-3),
    ),
    "contenders": (
        _with("discriminator 8 wide", discriminator=DiscriminatorSpec(width=8)),
        _with("discriminator 16 wide", discriminator=DiscriminatorSpec(width=16)),
        _with("penalty 0.5", penalty_weight=0.5),
        _with("discriminator 16 wide, penalty 0.5", discriminator=DiscriminatorSpec(width=16), penalty_weight=0.5),
    ),
    "trajectories": tuple(_with(f"{2**power} trajectories", trajectories=2**power) for power in range(9, 15)),
}
SEEDS = {"controls": 3, "grid": 3, "contenders": 3}
"""Training seeds of the groups that something is decided by; one of the others."""
