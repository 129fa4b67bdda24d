"""Part "precompute": what storing costs, against the same sampler loop that throws its states away."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import torch

from advkd.device.threads import torch_threads
from advkd.diffusion import Start
from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec, cached_teacher, precompute, trajectory_spec
from benchmarks.cache_data import LAYOUTS, Scale
from benchmarks.cache_process import call
from benchmarks.cache_report import Goal, Section
from benchmarks.measure import figures, interleaved, per_second, ratios, spread, table
from storage.records.seeding import initial_noise

SHARD_SAMPLES, BLOCK_SAMPLES = 256, 128
_BARE = "states thrown away"


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    runs = call(measure, str(folder / "precompute"), scale.computed_samples, scale.solver_steps)
    rows = [[case, spread(figures(runs, case), ".1f"), spread(ratios(runs, case, _BARE), ".3f")] for case in runs[0]]
    text = (
        f"The embedded digits teacher, {scale.computed_samples} samples, {scale.solver_steps} DDIM steps, 5 "
        "captured states, blocks of 128, "
        f"shards of {SHARD_SAMPLES}, one worker, one torch thread. Storing includes all that `precompute` does: "
        "encoding, statistics, checksums, synced writes, sealing. Both presets take more steps per captured state, so "
        "storing weighs less there.\n\n"
        f"{table(['loop', 'samples/s', 'times the bare loop'], rows)}"
    )
    worst = min(LAYOUTS, key=lambda layout: median(ratios(runs, layout, _BARE)))
    found = ratios(runs, worst, _BARE)
    goal = Goal(
        what="precompute throughput, storing included, against states thrown away",
        to_reach="0.97x or more",
        measured=f"{spread(found, '.3f')}x, {worst}, the slower layout",
        reached=median(found) >= 0.97,
        headline=True,
    )
    return Section(title="Precompute", text=text, goals=[goal])


def measure(folder: str, samples: int, steps: int) -> list[dict[str, float]]:
    """Samples per second of the bare loop and of both layouts."""
    spec = PrecomputeSpec(
        store=folder,
        samples=samples,
        solver=SolverSpec(steps=steps),
        captures=4,
        shard_samples=SHARD_SAMPLES,
        block_samples=BLOCK_SAMPLES,
    )
    _throw_away(replace(spec, samples=BLOCK_SAMPLES))
    cases = {_BARE: partial(per_second, partial(_throw_away, spec))}
    for layout in LAYOUTS:
        cases[layout] = partial(per_second, partial(_store, replace(spec, format=layout)))
    return interleaved(cases)


def _throw_away(spec: PrecomputeSpec) -> int:
    """The samples that `precompute` computes, in the same blocks on the same thread; kept nowhere."""
    teacher = cached_teacher(spec.teacher, spec.device)
    identity = trajectory_spec(spec, teacher)
    with torch_threads(1):
        for first in range(0, spec.samples, BLOCK_SAMPLES):
            drawn = initial_noise(spec.seed, first, first + BLOCK_SAMPLES, identity.sample_shape)
            for _ in teacher.states(Start(torch.from_numpy(drawn)), spec.solver, identity.timesteps):
                pass
    return spec.samples


def _store(spec: PrecomputeSpec) -> int:
    """All of it, from a root with nothing in it to a sealed store."""
    shutil.rmtree(spec.store, ignore_errors=True)
    return precompute(spec).num_samples
