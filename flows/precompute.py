"""Flow `precompute`: a teacher's trajectories into a sealed store, one task per missing shard."""

import os
import time

from prefect import get_run_logger, unmapped
from prefect.futures import as_completed

from advkd import trajectories as library
from advkd.device import torch_threads
from advkd.runtime import Tally, progress
from advkd.trajectories import ComputeSlots, PrecomputeSpec, StoreResult
from flows.processes import FanOut, shard_runner, stage
from flows.recipe import Device, Strict, placed
from flows.tasks import DAY, ShardPlan, compute_shard, compute_slots, plan_shards, seal_store, shard_progress

_SLOTS = ComputeSlots(os.cpu_count() or 1)
_LOOK_SECONDS = 1.0
_SAY_SECONDS = 60.0


@stage("precompute", timeout_seconds=30 * DAY)
def precompute(
    spec: Strict[PrecomputeSpec], fan_out: FanOut | None = None, device: Device | None = None
) -> StoreResult:
    """Computes the shards that are missing, if any, and seals the store.

    Args:
        spec: which trajectories to cache, and where.
        fan_out: where shards are computed: by default in threads of this process; "ray" in a Ray cluster of this
            machine, "auto" or "ray://host:10001" in one that is there.
        device: replaces the spec's.
    """
    began = time.monotonic()
    spec = placed(spec, device)
    plan = plan_shards(spec)
    written = _compute(spec, plan, fan_out)
    result = StoreResult.of(spec, seal_store(spec), written, time.monotonic() - began)
    get_run_logger().info(_narrate(result))
    return result


def _compute(spec: PrecomputeSpec, plan: ShardPlan, fan_out: str | None) -> list[int]:
    """Computes what is missing, shared with the other runs that are at work on the store; bytes per shard made here."""
    missing = list(plan.missing)
    written: list[int] = []
    if not missing:
        return written
    with (
        progress(get_run_logger().info) as report,
        torch_threads(1),
        shard_runner(fan_out, spec.device, _SLOTS.threads) as runner,
    ):
        tally = Tally(report, "trajectories", len(missing) * plan.shard_samples)
        token, slots = shard_progress.set(tally), compute_slots.set(_SLOTS)
        try:
            while missing:
                futures = runner.map(compute_shard, {"spec": unmapped(spec), "index": missing})
                shards = dict(zip(futures, missing, strict=True))
                for future in as_completed(futures):
                    if made := future.result():
                        written.append(made)
                        # Other processes than this one cannot report what they have done of a shard.
                        tally(shards[future], plan.shard_samples, plan.shard_samples)
                missing = _wait_for_others(spec)
        finally:
            # After a failure the shards that still run stop at their next block; those committed stay.
            tally.stop()
            shard_progress.reset(token)
            compute_slots.reset(slots)
    return written


def _wait_for_others(spec: PrecomputeSpec) -> list[int]:
    """Waits for the shards that other runs are at work on; those that they have given up are to be computed here."""
    said = float("-inf")
    while missing := library.what_is_missing(spec)[1]:
        holders = {index: library.shard_holder(spec, index) for index in missing}
        if given_up := [index for index, holder in holders.items() if holder is None]:
            return given_up
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            who = ", ".join(sorted({str(holder) for holder in holders.values()}))
            get_run_logger().info(f"{len(missing)} shards are being computed by {who}: waiting for them")
        time.sleep(_LOOK_SECONDS)
    return []


def _narrate(result: StoreResult) -> str:
    size = f"{result.num_samples} trajectories in {result.shards} shards"
    if not result.sealed:
        return f"store is sealed already: {size}, no shard recomputed"
    reused = result.shards - result.computed
    return f"store sealed: {size}, {result.computed} computed, {reused} reused, {result.seconds:.0f} s"


if __name__ == "__main__":
    from flows.command import main

    main(precompute)
