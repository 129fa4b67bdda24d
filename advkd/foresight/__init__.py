"""Asks all stages of a distillation, before the first one is paid for, whether they would refuse."""

from advkd.foresight.later_stages import ANY, check_later_stages, refuse_for, warning_for

__all__ = ["ANY", "check_later_stages", "refuse_for", "warning_for"]
