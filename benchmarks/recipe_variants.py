"""The variants that `benchmarks.recipe` compares: each changes something of the recipe of the rules for a teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from advkd.diffusion import spread_captures
from advkd.presets import in_eights
from advkd.training import TrainSpec
from storage import TrajectorySpec

Change = Callable[[TrainSpec, TrajectorySpec], TrainSpec]


@dataclass(frozen=True)
class Variant:
    """A recipe to measure."""

    name: str
    change: Change


def _plain(**fields: Any) -> Change:
    return lambda recipe, store: replace(recipe, **fields)


def _student(**fields: Any) -> Change:
    return lambda recipe, store: replace(recipe, student=replace(recipe.student, **fields))


def _discriminator(**fields: Any) -> Change:
    return lambda recipe, store: replace(recipe, discriminator=replace(recipe.discriminator, **fields))


def _wider(factor: float, **fields: Any) -> Change:
    return lambda recipe, store: replace(
        recipe, student=replace(recipe.student, width=in_eights(factor * recipe.student.width), **fields)
    )


def _coarser(patch: int, wider: float, levels: int = 0) -> Change:
    """A patch so many times as large, with so much more or fewer levels."""

    def change(recipe: TrainSpec, store: TrajectorySpec) -> TrainSpec:
        student = _wider(wider)(recipe, store).student
        student = replace(student, patch=patch * student.patch, levels=max(1, student.levels + levels))
        return replace(recipe, student=student)

    return change


def _grid(captures: int, shrink: float, blocks: int | None = None) -> Change:
    """So many states of the solver's, the distances between them shrinking by a factor towards the clean one."""

    def change(recipe: TrainSpec, store: TrajectorySpec) -> TrainSpec:
        student = recipe.student if blocks is None else replace(recipe.student, blocks=blocks)
        return replace(recipe, student=student, timesteps=spread_captures(store.timesteps, captures, shrink))

    return change


def _weights(weights: Callable[[int], tuple[float, ...]]) -> Change:
    def change(recipe: TrainSpec, store: TrajectorySpec) -> TrainSpec:
        return replace(recipe, submodule_weights=weights(len(recipe.timesteps or store.timesteps) - 1))

    return change


def _halflife(share: float) -> Change:
    return lambda recipe, store: replace(recipe, ema_halflife=share * recipe.samples)


BASE = Variant("base", lambda recipe, store: recipe)
GROUPS: Mapping[str, tuple[Variant, ...]] = {
    "controls": (
        Variant("K 1, blocks 8", _grid(1, 1.0, blocks=8)),
        Variant("distillation alone", _plain(warmup=1.0)),
    ),
    "student": (
        Variant("3/4 of the width", _wider(0.75)),
        Variant("1/2 of the width", _wider(0.5)),
        Variant("3/2 of the width", _wider(1.5)),
        Variant("twice the patch, one level less", _coarser(2, 1.0, levels=-1)),
        Variant("twice the patch, one level less, 3/2 of the width", _coarser(2, 1.5, levels=-1)),
        Variant("one block", _student(blocks=1)),
        Variant("attention", _student(attention=True)),
    ),
    "levels": (
        Variant("4/3 of the width", _wider(4 / 3)),
        Variant("4/3 of the width, one block", _wider(4 / 3, blocks=1)),
        Variant("twice the patch, one level less, 8/3 of the width", _coarser(2, 8 / 3, levels=-1)),
    ),
    "submodules": (
        Variant("K 2, blocks 4", _grid(2, 0.5, blocks=4)),
        Variant("K 8, blocks 1", _grid(8, 1.0, blocks=1)),
        Variant("deep late", _student(blocks=(1, 1, 2, 4))),
        Variant("deep early", _student(blocks=(4, 2, 1, 1))),
    ),
    "grid": (
        Variant("even", _grid(4, 1.0)),
        Variant("shrink 0.7", _grid(4, 0.7)),
        Variant("shrink 0.4", _grid(4, 0.4)),
    ),
    "weights": (
        Variant("w equal", _weights(lambda count: (1.0,) * count)),
        Variant("w last only", _weights(lambda count: (0.0,) * (count - 1) + (1.0,))),
    ),
    "learning rate": (
        Variant("rate 2e-2", _plain(learning_rate=2e-2)),
        Variant("rate 5e-3", _plain(learning_rate=5e-3)),
        Variant("no decay", _plain(weight_decay=0.0)),
        Variant("decay 0.3", _plain(weight_decay=0.3)),
    ),
    "phases": (
        Variant("game from the start", _plain(warmup=0.0)),
        Variant("warm-up 20 %", _plain(warmup=0.2)),
        Variant("warm-up 70 %", _plain(warmup=0.7)),
    ),
    "adversarial": (
        Variant("weight 0.25", _plain(adversarial_weight=0.25)),
        Variant("weight 1", _plain(adversarial_weight=1.0, adversarial_limit=0.4)),
        Variant("non-saturating", _plain(adversarial="non-saturating")),
        Variant("penalty 0.5", _plain(penalty_weight=0.5)),
        Variant("penalty 2", _plain(penalty_weight=2.0)),
    ),
    "discriminator": (
        Variant("discriminator 16 wide", _discriminator(width=16)),
        Variant("discriminator 64 wide", _discriminator(width=64)),
        Variant("discriminator rate 1e-3", _plain(discriminator_learning_rate=1e-3)),
        Variant("discriminator 16 wide, penalty 0.5", lambda recipe, store: replace(
            _discriminator(width=16)(recipe, store), penalty_weight=0.5
        )),
    ),
    "mirror": (Variant("mirrored", _plain(mirror=True)),),
    "mirror emoji": (Variant("mirrored but for symbols and flags", _plain(mirror=(0, 1, 2, 3, 4, 5))),),
    "averages": (
        Variant("half-life 2 % of the run", _halflife(0.02)),
        Variant("half-life 10 % of the run", _halflife(0.1)),
    ),
    "trajectories": tuple(
        Variant(f"{count} trajectories", _plain(trajectories=count)) for count in (512, 1024, 2048, 2560, 4096)
    ),
}  # fmt: skip
