"""Asks all stages of a distillation, before the first one is paid for, whether they would refuse."""

from advkd.foresight.distillation import DistillationPlan, plan_distillation
from advkd.foresight.later_stages import ANY, check_later_stages, refuse_for, warning_for

__all__ = [
    "ANY",
    "DistillationPlan",
    "check_later_stages",
    "plan_distillation",
    "refuse_for",
    "warning_for",
]
