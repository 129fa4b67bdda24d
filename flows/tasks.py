"""The tasks: a few lines around one library call each. They take and return URIs and small dataclasses.

Retries, time-outs and tags stand in the decorators. Prefect's cache and result files are off: whether something is
already done is decided by the store's manifest, the training folder and the registry.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from advkd import trajectories as library
from advkd.evaluation import EvalReport, EvaluateSpec, TeacherPasses
from advkd.evaluation import evaluate as evaluate_in_process
from advkd.registry import RegisteredModel, RegisterSpec, log_counters
from advkd.registry import register as register_in_process
from advkd.runtime import StageCounters, progress
from advkd.training import RunSpec
from advkd.trajectories import ComputeSlots, PrecomputeSpec
from flows.processes import ChildKilledError, run_module
from storage import Manifest, is_sealed, join, write_json

HOUR = 3600.0
DAY = 24 * HOUR

shard_progress: ContextVar[Callable[[int, int, int], None] | None] = ContextVar("shard_progress", default=None)
"""Where the shard tasks of a flow run in this process report (shard, samples done, samples); None elsewhere."""

compute_slots: ContextVar[ComputeSlots | None] = ContextVar("compute_slots", default=None)
"""Which of the shard tasks of a flow run in this process compute at the same time; None elsewhere: all."""


@dataclass(frozen=True)
class ShardPlan:
    """What is missing from a store: numbers of shards, samples per shard, and whether it is sealed as it is."""

    missing: tuple[int, ...]
    shard_samples: int
    sealed: bool


@dataclass(frozen=True)
class Evaluation:
    """A student's report, whether it had to be made, and by how many passes of the teacher's network."""

    report: EvalReport
    evaluated: bool
    passes: int


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failure may pass by itself: a connection, a time-out. Bad input never does."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, (ConnectionError, TimeoutError))


def was_killed(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a signal ended a process of its own: it goes on from its last checkpoint."""
    return isinstance(state.result(raise_on_failure=False), ChildKilledError)


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def plan_shards(spec: PrecomputeSpec) -> ShardPlan:
    """Shards that are yet to be computed."""
    identity, missing = library.what_is_missing(spec)
    return ShardPlan(tuple(missing), identity.shard_samples, is_sealed(spec.store, identity, spec.samples))


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=worth_retrying,
    task_run_name="shard-{index:06d}",
    tags=["shard"],
)
def compute_shard(spec: PrecomputeSpec, index: int) -> int:
    """Bytes of one whole shard, computed and committed; 0 if another run has, or is at work on it."""
    return _share_shard(spec, index)


def _share_shard(spec: PrecomputeSpec, index: int) -> int:
    """The task's own lines travel to other processes as they are, where this module's context variables cannot."""
    # Shards are the parallelism; the bytes must not depend on how many run at once. The flow's own setting covers the
    # threads of its process only, and a task runner may place shards in other ones.
    torch.set_num_threads(1)
    report = shard_progress.get()
    record = library.share_shard(spec, index, report and partial(report, index), compute_slots.get())
    return record.total_bytes if record else 0


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def seal_store(spec: PrecomputeSpec) -> Manifest:
    """Publishes the store, once all of its shards are committed."""
    return library.seal_store(spec)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    timeout_seconds=7 * DAY,
    tags=["training"],
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=was_killed,
)
def train_student(spec: RunSpec, store: str, out: str, processes: int = 1) -> str:
    """Folder of the student, trained in processes of its own, from its last checkpoint on if there is one."""
    file = join(out, "train.json")
    write_json(file, asdict(spec))
    logger = get_run_logger()
    with progress(logger.info) as report:
        arguments = ["train", "--store", store, "--out", out, "--spec", file]
        return run_module("advkd", arguments, report, logger.log, processes)


@task(cache_policy=NO_CACHE, persist_result=False)
def evaluate_student(spec: EvaluateSpec) -> Evaluation:
    """The student beside its teacher: figures, pictures, `report.html`."""
    with progress(get_run_logger().info) as report:
        passes = TeacherPasses(report)
        return Evaluation(evaluate_in_process(spec, passes), evaluated=True, passes=passes.total)


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def register_student(spec: RegisterSpec) -> RegisteredModel:
    """The student as a version of a registered model."""
    return register_in_process(spec)


@task(cache_policy=NO_CACHE, persist_result=False)
def note_counters(model: RegisteredModel, counters: dict[str, StageCounters], runs: str) -> None:
    """The stages' counters beside the version's metrics; best effort, for the version is there and its run is done."""
    try:
        log_counters(model, counters, runs)
    except Exception as error:
        get_run_logger().warning(f"counters are in summary.json alone: {type(error).__name__} from the registry")
