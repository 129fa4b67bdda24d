"""Flow `precompute`: a teacher's trajectories into a sealed store, one task per missing shard."""

import os
import time

from prefect import flow, get_run_logger, unmapped
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from advkd.cpu import torch_threads
from advkd.precompute import PrecomputeSpec, StoreResult
from advkd.progress import Tally, progress
from advkd.trajectories import ComputeSlots
from flows.parameters import Strict
from flows.tasks import ShardPlan, compute_shard, compute_slots, plan_shards, seal_store, shard_progress
from storage import store_uri

_SLOTS = ComputeSlots(os.cpu_count() or 1)


@flow(name="precompute", task_runner=ThreadPoolTaskRunner(max_workers=_SLOTS.threads), persist_result=False)
def precompute(spec: Strict[PrecomputeSpec]) -> StoreResult:
    """Computes the shards that are missing, if any, and seals the store.

    Args:
        spec: which trajectories to cache, and where.
    """
    began = time.monotonic()
    plan = plan_shards(spec)
    _compute(spec, plan)
    manifest = seal_store(spec)
    result = StoreResult(
        uri=store_uri(spec.store, manifest.spec),
        digest=manifest.digest,
        num_samples=manifest.num_samples,
        shards=manifest.num_shards,
        computed=len(plan.missing),
        seconds=time.monotonic() - began,
    )
    get_run_logger().info(_narrate(result, was_sealed=plan.sealed))
    return result


def _compute(spec: PrecomputeSpec, plan: ShardPlan) -> None:
    if not plan.missing:
        return
    with progress(get_run_logger().info) as report, torch_threads(1):
        tally = Tally(report, "trajectories", len(plan.missing) * plan.shard_samples)
        token, slots = shard_progress.set(tally), compute_slots.set(_SLOTS)
        try:
            for future in as_completed(compute_shard.map(unmapped(spec), plan.missing)):
                future.result()
        finally:
            # After a failure the shards that still run stop at their next block; those committed stay.
            tally.stop()
            shard_progress.reset(token)
            compute_slots.reset(slots)


def _narrate(result: StoreResult, *, was_sealed: bool) -> str:
    size = f"{result.num_samples} trajectories in {result.shards} shards"
    if was_sealed and not result.computed:
        return f"store is sealed already: {size}, no shard recomputed"
    reused = result.shards - result.computed
    return f"store sealed: {size}, {result.computed} computed, {reused} reused, {result.seconds:.0f} s"


if __name__ == "__main__":
    from flows.command import main

    main(precompute)
