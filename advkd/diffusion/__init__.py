"""The mathematics that teachers and students share: start, condition, schedule, time grid, skip, space. No I/O."""

from advkd.diffusion.conditions import (
    CONDITIONS,
    UNCONDITIONAL,
    Conditions,
    conditions_of,
    drawn_condition,
    embedded,
    start_of,
)
from advkd.diffusion.labels import LABELS, Labels
from advkd.diffusion.predictions import clean_estimate, preconditioned_clean, preconditioned_input
from advkd.diffusion.prompt_facts import MASK, POOLED, PROMPTS, TOKENS, prompt_shapes
from advkd.diffusion.prompts import Prompts, cut, prompts_facts, prompts_sha256
from advkd.diffusion.schedule import (
    CLEAN,
    NoiseSchedule,
    SkipCoefficients,
    implied_clean,
    linear_schedule,
    skip_coefficients,
)
from advkd.diffusion.spaces import SPACES, Pixels, Space, decoded, space_of
from advkd.diffusion.start import Start
from advkd.diffusion.time_grid import (
    TimeGrid,
    check_captures,
    check_shrink,
    discrete_grid,
    solver_grid,
    spread_captures,
)

__all__ = [
    "CLEAN",
    "CONDITIONS",
    "LABELS",
    "MASK",
    "POOLED",
    "PROMPTS",
    "SPACES",
    "TOKENS",
    "UNCONDITIONAL",
    "Conditions",
    "Labels",
    "NoiseSchedule",
    "Pixels",
    "Prompts",
    "SkipCoefficients",
    "Space",
    "Start",
    "TimeGrid",
    "check_captures",
    "check_shrink",
    "clean_estimate",
    "conditions_of",
    "cut",
    "decoded",
    "discrete_grid",
    "drawn_condition",
    "embedded",
    "implied_clean",
    "linear_schedule",
    "preconditioned_clean",
    "preconditioned_input",
    "prompt_shapes",
    "prompts_facts",
    "prompts_sha256",
    "skip_coefficients",
    "solver_grid",
    "space_of",
    "spread_captures",
    "start_of",
]
