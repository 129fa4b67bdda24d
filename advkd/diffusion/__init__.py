"""The mathematics that teachers and students share: noise schedule, time grid, the schedule's skip. No I/O."""

from advkd.diffusion.schedule import (
    CLEAN,
    NoiseSchedule,
    SkipCoefficients,
    check_captures,
    check_shrink,
    implied_clean,
    linear_schedule,
    skip_coefficients,
    solver_grid,
    spread_captures,
)

__all__ = [
    "CLEAN",
    "NoiseSchedule",
    "SkipCoefficients",
    "check_captures",
    "check_shrink",
    "implied_clean",
    "linear_schedule",
    "skip_coefficients",
    "solver_grid",
    "spread_captures",
]
