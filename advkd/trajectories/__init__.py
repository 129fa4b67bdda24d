"""Computes a teacher's trajectories into a sealed store; plans and repairs stores."""

from advkd.trajectories.costs import Prices, Requests
from advkd.trajectories.filling import (
    Filling,
    StoreResult,
    precompute,
    seal_store,
    shard_holder,
    share_shard,
    what_is_missing,
)
from advkd.trajectories.identity import cached_teacher, sample_passes, trajectory_spec
from advkd.trajectories.plan import CachePlan, plan_cache
from advkd.trajectories.precompute_spec import PrecomputeSpec
from advkd.trajectories.repairing import repair
from advkd.trajectories.shard import ComputeSlots
from advkd.trajectories.teacher_cost import DecoderCost, TeacherCost, measure_teacher
from advkd.trajectories.unseen_teacher import UnseenTeacher

__all__ = [
    "CachePlan",
    "ComputeSlots",
    "DecoderCost",
    "Filling",
    "PrecomputeSpec",
    "Prices",
    "Requests",
    "StoreResult",
    "TeacherCost",
    "UnseenTeacher",
    "cached_teacher",
    "measure_teacher",
    "plan_cache",
    "precompute",
    "repair",
    "sample_passes",
    "seal_store",
    "shard_holder",
    "share_shard",
    "trajectory_spec",
    "what_is_missing",
]
