"""Deployments, schedules, automations, and the processes that serve them."""

from flows.serving.automations import AUTOMATIONS, CANCEL_SECONDS, SILENCE_SECONDS
from flows.serving.declared import declaration, how_to_deploy
from flows.serving.deploying import deploy, pool_limits, queue_limits
from flows.serving.serve import run_server
from flows.serving.upkeep import PENDING_SECONDS, run_upkeep

__all__ = [
    "AUTOMATIONS",
    "CANCEL_SECONDS",
    "PENDING_SECONDS",
    "SILENCE_SECONDS",
    "declaration",
    "deploy",
    "how_to_deploy",
    "pool_limits",
    "queue_limits",
    "run_server",
    "run_upkeep",
]
