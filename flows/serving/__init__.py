"""Deployments, schedules, automations, and the processes that serve them."""

from flows.serving.automations import AUTOMATIONS, CANCEL_SECONDS, SILENCE_SECONDS
from flows.serving.deploying import CHECKOUT, deploy, pool_limits, queue_limits
from flows.serving.upkeep import PENDING_SECONDS, main

__all__ = [
    "AUTOMATIONS",
    "CANCEL_SECONDS",
    "CHECKOUT",
    "PENDING_SECONDS",
    "SILENCE_SECONDS",
    "deploy",
    "main",
    "pool_limits",
    "queue_limits",
]
