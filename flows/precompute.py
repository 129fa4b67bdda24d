"""Flow `precompute`: computes a teacher's trajectories into a sealed store, one task per missing shard."""

import os
import time

from prefect import get_run_logger, unmapped
from prefect.futures import as_completed

from advkd import trajectories as library
from advkd.device import torch_threads
from advkd.foresight import refuse_for, warning_for
from advkd.runtime import Tally, progress
from advkd.trajectories import ComputeSlots, PrecomputeSpec, StoreResult
from flows.processes import FanOut, last_part, shard_runner, stage
from flows.recipe import Device, Strict, placed
from flows.tasks import DAY, ShardPlan, compute_shard, compute_slots, plan_shards, seal_store, shard_progress

_SLOTS = ComputeSlots(os.cpu_count() or 1)
_LOOK_SECONDS = 1.0
_SAY_SECONDS = 60.0


@stage("precompute", timeout_seconds=30 * DAY, named=lambda told: last_part(told["spec"].teacher))
def precompute(
    spec: Strict[PrecomputeSpec],
    fan_out: FanOut | None = None,
    device: Device | None = None,
    for_preset: str | None = None,
) -> StoreResult:
    """Computes the missing shards, if any, and seals the store.

    Args:
        spec: the trajectories to cache, and their store.
        fan_out: where shards are computed: by default in threads of this process; "ray" starts a Ray cluster on this
            machine, "auto" and "ray://host:10001" use an existing one.
        device: replaces the device in the spec.
        for_preset: preset that the store is for: what its later stages would refuse is refused now; by default only
            said, for the preset full; "any" says nothing.
    """
    began = time.monotonic()
    spec = placed(spec, device)
    if for_preset is not None:
        refuse_for(spec, for_preset)
    elif (warning := warning_for(spec)) is not None:
        get_run_logger().warning(warning)
    plan = plan_shards(spec)
    written = _compute(spec, plan, fan_out)
    result = StoreResult.of(spec, seal_store(spec), written, time.monotonic() - began)
    get_run_logger().info(_narrate(result))
    return result


def _compute(spec: PrecomputeSpec, plan: ShardPlan, fan_out: str | None) -> list[int]:
    """Computes missing shards together with other runs; returns the bytes of each shard that this run computed."""
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
                        # Other processes cannot report their progress within a shard.
                        tally(shards[future], plan.shard_samples, plan.shard_samples)
                missing = _wait_for_others(spec)
        finally:
            # After a failure, running shards stop at their next block; committed ones stay.
            tally.stop()
            shard_progress.reset(token)
            compute_slots.reset(slots)
    return written


def _wait_for_others(spec: PrecomputeSpec) -> list[int]:
    """Waits for the shards that other runs compute; returns those that they have given up."""
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
