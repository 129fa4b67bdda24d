"""The states that a solver passes through, and which of them are captured. Pure functions of numbers.

An integer label names each state. Labels decrease strictly from the noise to the clean state, which is 0. A teacher
with discrete times uses its training timesteps as labels; one with continuous times may number its states freely.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from advkd.diffusion.schedule import CLEAN, NoiseSchedule


@dataclass(frozen=True)
class TimeGrid:
    """The states of one solver from noise to clean, with `x_t = signal x_0 + sigma eps` at each of them.

    Attributes:
        labels: names of the states, strictly decreasing, the last one 0.
        signal: `a_t` at each state, 1 at the last.
        sigma: `s_t` at each state, 0 at the last.
    """

    labels: tuple[int, ...]
    signal: tuple[float, ...]
    sigma: tuple[float, ...]

    def at(self, labels: Sequence[int]) -> "TimeGrid":
        """Restricts the grid to some of its labels; raises `ValueError` for a label that is not on it."""
        places = {label: place for place, label in enumerate(self.labels)}
        missing = [label for label in labels if label not in places]
        if missing:
            raise ValueError(f"states must be on the solver's grid {self.labels}, got {missing}; choose among these")
        chosen = [places[label] for label in labels]
        return TimeGrid(tuple(labels), tuple(self.signal[k] for k in chosen), tuple(self.sigma[k] for k in chosen))


def discrete_grid(schedule: NoiseSchedule, labels: Sequence[int]) -> TimeGrid:
    """Builds the grid of a solver that visits training timesteps of a schedule."""
    levels = [(schedule.signal(label), schedule.sigma(label)) for label in labels]
    return TimeGrid(tuple(labels), tuple(signal for signal, _ in levels), tuple(sigma for _, sigma in levels))


def solver_grid(train_timesteps: int, steps: int) -> tuple[int, ...]:
    """Returns the timesteps of the `steps + 1` states of a solver, from noise to clean (0).

    Trailing spacing (Lin et al. 2023, https://arxiv.org/abs/2305.08891, table 2), as `timestep_spacing="trailing"`
    of diffusers. `steps` must divide `train_timesteps`: for other counts, diffusers' DDIM steps by a rounded stride,
    which does not lead to the timestep it visits next, so the states would not have the grid's noise levels.
    """
    if not 1 <= steps <= train_timesteps:
        raise ValueError(
            f"solver steps must lie in [1, {train_timesteps}], got {steps}; the teacher has {train_timesteps} timesteps"
        )
    if train_timesteps % steps:
        divisors = [n for n in range(1, train_timesteps + 1) if train_timesteps % n == 0]
        near = sorted(divisors, key=lambda n: abs(n - steps))[:3]
        raise ValueError(
            f"solver steps must divide the teacher's {train_timesteps} timesteps, got {steps}; "
            f"use one of {sorted(near)}, or a solver that takes any number, such as unipc"
        )
    return (*range(train_timesteps - 1, -1, -(train_timesteps // steps)), CLEAN)


def spread_captures(grid: Sequence[int], captures: int, shrink: float = 1.0) -> tuple[int, ...]:
    """Chooses the noise and `captures` states of the solver's grid, the clean state included.

    Args:
        grid: timesteps of the solver's states, from noise to clean.
        captures: K, in [1, steps].
        shrink: r in (0, 1]: each captured state takes r times as many solver steps as the one before it, but at least
            one; 1 spreads them evenly (docs/method.md 2).

    Raises:
        ValueError: `captures` or `shrink` is impossible on this grid.
    """
    steps = len(grid) - 1
    check_shrink(shrink)
    if not 1 <= captures <= steps:
        raise ValueError(
            f"captures must lie in [1, {steps}] for a solver of {steps} steps, got {captures}; "
            "take fewer captures or more solver steps"
        )
    lengths = [shrink**k for k in range(captures)]
    ends = [steps * sum(lengths[:k]) / sum(lengths) for k in range(captures + 1)]
    # Leave at least one step for each state that follows.
    spread = tuple(grid[min(round(end), steps - captures + k)] for k, end in enumerate(ends))
    if len(set(spread)) <= captures:
        # Only a solver that visits every training timestep passes through timestep 0 before the clean state.
        raise ValueError(
            f"captures must be distinct times, got {captures} of a solver of {steps} steps, whose last step starts at "
            "timestep 0, which names the clean state; take at most half as many captures as steps"
        )
    return spread


def check_shrink(shrink: float) -> None:
    """Checks the factor by which the distances between captured states shrink.

    Raises:
        ValueError: `shrink` is outside (0, 1].
    """
    if not 0.0 < shrink <= 1.0:
        raise ValueError(f"shrink must lie in (0, 1], got {shrink}; 1 spreads evenly, 0.5 halves the steps each time")


def check_captures(grid: Sequence[int], timesteps: Sequence[int]) -> tuple[int, ...]:
    """Checks that the solver passes through all `timesteps`; returns them completed with the noise and the clean state.

    Raises:
        ValueError: `timesteps` are not strictly decreasing, or not all on the solver's grid.
    """
    asked = tuple(timesteps)
    if not asked or any(later >= earlier for earlier, later in pairwise(asked)):
        raise ValueError(f"timesteps must be strictly decreasing, got {asked}; sort them from noise to clean")
    outside = [t for t in asked if not CLEAN <= t <= grid[0]]
    if outside:
        raise ValueError(f"timesteps must lie in [0, {grid[0]}], the teacher's schedule, got {outside}; drop them")
    missing = [t for t in asked if t not in grid]
    if missing:
        raise ValueError(
            f"timesteps must be on the grid of the solver, got {missing} where {len(grid) - 1} steps pass through "
            f"{tuple(grid)}; choose among these or change the number of solver steps"
        )
    head = () if asked[0] == grid[0] else (grid[0],)
    tail = () if asked[-1] == CLEAN else (CLEAN,)
    return (*head, *asked, *tail)
