"""Recipes that the flows and the command line run by default, and the rules that fit them to a teacher."""

from advkd.presets.budget import Budget
from advkd.presets.choice import Choice, Wish, choose
from advkd.presets.fitting import Changes, fitted, fitted_store, fitted_window
from advkd.presets.grids import Geometry, check_sight, geometry, in_eights
from advkd.presets.memory import trajectory_bytes
from advkd.presets.speed import pass_multiply_adds, passes_at_once, sample_seconds, step_seconds
from advkd.presets.table import DEFAULT_PRESET, PRESETS, Preset, preset
from advkd.presets.targets import StudentCost, Target, student_cost

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Budget",
    "Changes",
    "Choice",
    "Geometry",
    "Preset",
    "StudentCost",
    "Target",
    "Wish",
    "check_sight",
    "choose",
    "fitted",
    "fitted_store",
    "fitted_window",
    "geometry",
    "in_eights",
    "pass_multiply_adds",
    "passes_at_once",
    "preset",
    "sample_seconds",
    "step_seconds",
    "student_cost",
    "trajectory_bytes",
]
