"""The tasks: each wraps one library call, and takes and returns URIs and small dataclasses.

Decorators set retries, time-outs and tags. Prefect's cache and result files are off: the store's manifest, the training
folder and the registry tell what is already done.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from advkd import evaluation
from advkd import trajectories as library
from advkd.evaluation import EvalReport, EvaluateSpec, Piece, TeacherPasses
from advkd.evaluation import evaluate as evaluate_in_process
from advkd.export import Export, ExportSpec, export_for_devices
from advkd.registry import RegisteredModel, RegisterSpec, log_counters
from advkd.registry import register as register_in_process
from advkd.runtime import StageCounters, console, progress
from advkd.training import RunSpec
from advkd.trajectories import ComputeSlots, PrecomputeSpec
from flows.processes import BESIDE_A_BAR, ChildKilledError, Milestones, run_module
from storage import join, write_json
from storage.writing import Sealing

HOUR = 3600.0
DAY = 24 * HOUR

shard_progress: ContextVar[Callable[[int, int, int], None] | None] = ContextVar("shard_progress", default=None)
"""Called by this process's shard tasks with (shard, samples done, samples); None in other processes."""

compute_slots: ContextVar[ComputeSlots | None] = ContextVar("compute_slots", default=None)
"""Bounds the shard tasks of this process that compute at the same time; None in other processes: no bound."""


@dataclass(frozen=True)
class ShardPlan:
    """The missing shards of a store: their numbers, and samples per shard."""

    missing: tuple[int, ...]
    shard_samples: int


@dataclass(frozen=True)
class Evaluation:
    """A student's report, whether this run made it, and the number of the teacher's network passes."""

    report: EvalReport
    evaluated: bool
    passes: int


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Returns whether a retry may succeed: after a lost connection or a time-out, but not after bad input."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, (ConnectionError, TimeoutError))


def was_killed(_task: Any, _run: Any, state: Any) -> bool:
    """Returns whether a signal ended the child process; a retry continues from its last checkpoint."""
    return isinstance(state.result(raise_on_failure=False), ChildKilledError)


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def plan_shards(spec: PrecomputeSpec) -> ShardPlan:
    """Returns the missing shards."""
    identity, missing = library.what_is_missing(spec)
    return ShardPlan(tuple(missing), identity.shard_samples)


_SHARED: Any = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [5, 30],
    "retry_condition_fn": worth_retrying,
}
"""Of tasks that are spread over threads or a cluster. No tags: Prefect would ask for a slot of each, twice a task."""


@task(**_SHARED, task_run_name="shard-{index:06d}")
def compute_shard(spec: PrecomputeSpec, index: int) -> int:
    """Computes and commits a shard and returns its bytes; 0 if another run has computed it or is computing it."""
    return _share_shard(spec, index)


def _share_shard(spec: PrecomputeSpec, index: int) -> int:
    """Computes a shard; a function of its own, because context variables of this module cannot be sent to processes."""
    # One thread per shard: shards run in parallel, and the bytes must not depend on how many. The flow's setting
    # covers only its own process, and a task runner may place shards in other ones.
    torch.set_num_threads(1)
    report = shard_progress.get()
    record = library.share_shard(spec, index, report and partial(report, index), compute_slots.get())
    return record.total_bytes if record else 0


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def seal_store(spec: PrecomputeSpec) -> Sealing:
    """Seals the store once all of its shards are committed."""
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
    """Trains a student in processes of its own, from its last checkpoint if there is one; returns the folder."""
    file = join(out, "train.json")
    write_json(file, asdict(spec))
    logger = get_run_logger()
    # Where a bar shows the same, the lines are for Prefect's page alone.
    said = partial(logger.info, extra={BESIDE_A_BAR: console().is_terminal})
    with progress(lambda _: None) as report:
        arguments = ["train", "--store", store, "--out", out, "--spec", file]
        # CUDA gets an interpreter that nothing was forked from.
        by_spare = spec.device == "cpu"
        return run_module("advkd", arguments, Milestones(report, said), logger.log, processes, by_spare)


@task(**_SHARED)
def compute_pieces(spec: EvaluateSpec, pieces: Sequence[Piece]) -> int:
    """Computes pieces of the teacher's reference that no other run computes; returns the network passes."""
    return _share_pieces(spec, pieces)


def _share_pieces(spec: EvaluateSpec, pieces: Sequence[Piece]) -> int:
    """See `_share_shard`."""
    torch.set_num_threads(1)
    return sum(piece.passes for piece in pieces if evaluation.share_piece(spec, piece))


@task(cache_policy=NO_CACHE, persist_result=False)
def evaluate_student(spec: EvaluateSpec) -> Evaluation:
    """Evaluates the student against its teacher: figures, pictures, `report.html`."""
    with progress(get_run_logger().info) as report:
        passes = TeacherPasses(report)
        return Evaluation(evaluate_in_process(spec, passes), evaluated=True, passes=passes.total)


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def export_student(spec: ExportSpec) -> Export:
    """Exports the student for devices: networks of ONNX, and what they cost."""
    return export_for_devices(spec)


@task(cache_policy=NO_CACHE, persist_result=False, retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def register_student(spec: RegisterSpec) -> RegisteredModel:
    """Registers the student as a version of a model."""
    return register_in_process(spec)


@task(cache_policy=NO_CACHE, persist_result=False)
def note_counters(model: RegisteredModel, counters: dict[str, StageCounters], runs: str) -> None:
    """Logs the stages' counters with the version's metrics; a failure is no error, because the version exists."""
    try:
        log_counters(model, counters, runs)
    except Exception as error:
        get_run_logger().warning(f"counters are in summary.json alone: {type(error).__name__} from the registry")
