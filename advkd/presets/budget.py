"""A budget of time: how many trajectories and how much training it buys on this machine, measured."""

import re
from dataclasses import dataclass, replace

from advkd.presets.speed import passes_at_once, sample_seconds, step_seconds
from advkd.teachers import Teacher
from advkd.text import duration_text
from advkd.training import RunSpec, TrainSpec
from advkd.trajectories import PrecomputeSpec
from storage import TrajectorySpec

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FEWEST = 1024
_MOST = 4
"""Trajectories, in those of the preset, that a budget buys at most; what is left is spent on training."""
_PRECOMPUTE = 0.4


@dataclass(frozen=True)
class Budget:
    """Seconds of wall-clock time for precompute and training together."""

    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Reads "90s", "30m", "2h", "1h30m" or "1d".

        Raises:
            ValueError: it is no duration.
        """
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if "".join(number + unit for number, unit in parts) != text.strip() or not seconds > 0:
            raise ValueError(f"a budget must be a time such as 90s, 30m or 1h30m, got {text!r}; write one")
        return cls(seconds)


@dataclass(frozen=True)
class Bought:
    """What a budget buys: trajectories of the store, and trajectories seen in training."""

    trajectories: int
    samples: int


def buy(budget: Budget, teacher: Teacher, precompute: PrecomputeSpec, train: RunSpec, store: TrajectorySpec) -> Bought:
    """Divides a budget: two fifths for trajectories, up to four times the preset's, and the rest for training.

    Both numbers have two significant digits, so that small differences of speed seldom change them.

    Raises:
        ValueError: it is too short for one epoch of 1024 trajectories.
    """
    each = step_seconds(teacher, precompute.solver) * precompute.solver.steps / passes_at_once(teacher)
    seen = sample_seconds(train, store)
    trajectories = max(_FEWEST, min(int(_PRECOMPUTE * budget.seconds / each), _MOST * precompute.samples))
    if trajectories * (each + seen) > budget.seconds:
        trajectories = int(budget.seconds / (each + seen))
    if trajectories < _FEWEST:
        raise ValueError(
            f"a budget must be enough for one epoch of {_FEWEST:,} trajectories, got {duration_text(budget.seconds)} "
            f"where {duration_text(each * _FEWEST)} of precompute and {duration_text(seen * _FEWEST)} of training are "
            "needed; allow more time, or make the student or the number of solver steps smaller"
        )
    trajectories = _rounded(trajectories)
    samples = max(_rounded(int((budget.seconds - trajectories * each) / seen)), trajectories)
    return Bought(trajectories, samples // train.batch_size * train.batch_size)


def spend(bought: Bought, precompute: PrecomputeSpec, train: RunSpec) -> tuple[PrecomputeSpec, RunSpec]:
    """Returns the specs with what a budget has bought; a run rises in a tenth of its samples at most."""
    train = replace(
        train, samples=bought.samples, checkpoint_every=min(train.checkpoint_every, max(1, bought.samples // 4))
    )
    if isinstance(train, TrainSpec):
        train = replace(train, rise_samples=min(train.rise_samples, bought.samples // 10))
    return replace(precompute, samples=bought.trajectories), train


def _rounded(number: int) -> int:
    unit = 10 ** max(0, len(str(number)) - 2)
    return int(number // unit * unit)
