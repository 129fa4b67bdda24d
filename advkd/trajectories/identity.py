"""Derives the identity of a store from the settings: the teacher, its solver's grid, the captured states."""

import threading
from dataclasses import replace
from functools import lru_cache

from advkd.device import require_computes
from advkd.diffusion import Pixels, check_captures, spread_captures
from advkd.teachers import FLOAT32, Teacher, check_prediction, fitting_solver, in_precision, load_teacher
from advkd.trajectories.precompute_spec import PrecomputeSpec
from storage import TrajectorySpec, default_block_samples, default_shard_samples

_LOADING = threading.Lock()


def cached_teacher(source: str, device: str, precision: str = FLOAT32) -> Teacher:
    """Loads a teacher once per process; the shards of a store share it, in any number of threads."""
    with _LOADING:
        return _loaded_teacher(source, device, precision)


@lru_cache(maxsize=2)
def _loaded_teacher(source: str, device: str, precision: str) -> Teacher:
    if precision != FLOAT32:
        # Said before minutes of loading.
        require_computes(device, precision)
    teacher = load_teacher(source, device)
    check_prediction(teacher)
    return in_precision(teacher, precision, device)


def sample_passes(identity: TrajectorySpec) -> int:
    """Returns the network passes of one sample: one per solver step, and two under guidance."""
    return identity.solver_steps * (1 if identity.guidance_scale is None else 2)


def trajectory_spec(spec: PrecomputeSpec, teacher: Teacher) -> TrajectorySpec:
    """Returns the identity of the store of `spec`.

    Raises:
        ValueError: the solver does not pass through a timestep, or the shard size is impossible.
    """
    solver, asked = fitting_solver(spec.solver, teacher), spec.timesteps
    grid = teacher.grid(solver)
    captured = grid.at(
        spread_captures(grid.labels, spec.captures, spec.shrink)
        if asked is None
        else check_captures(grid.labels, asked)
    )
    space, config = teacher.space.facts, teacher.solver_config(solver)
    identity = TrajectorySpec(
        teacher=teacher.name,
        fingerprint=teacher.fingerprint,
        sampler=solver.kind,
        deterministic=solver.deterministic,
        sampler_config=config,
        guidance_scale=config.get("guidance_scale"),
        solver_steps=solver.steps,
        timesteps=captured.labels,
        signal=captured.signal,
        sigma=captured.sigma,
        sample_shape=teacher.space.shape,
        space=None if space == Pixels(teacher.space.shape).facts else space,
        conditioning=teacher.conditions.facts,
        base_seed=spec.seed,
        dtype=spec.dtype,
        noise=spec.noise,
        resolutions=spec.resolutions,
        uint8_ranges=_uint8_ranges(spec, captured.labels),
        layout=spec.format,
        shard_samples=1,
        block_samples=1,
    )
    size = identity.trajectory_bytes
    block = default_block_samples(size) if spec.block_samples is None else spec.block_samples
    shard = spec.shard_samples
    if shard is None:
        shard = max(1, default_shard_samples(size) // block) * block
    elif shard % block:
        raise ValueError(
            f"PrecomputeSpec.shard_samples must be a positive multiple of block_samples, by default {block} for "
            f"{size} bytes per sample, got {shard}; choose another shard size, or other blocks"
        )
    return replace(identity, shard_samples=shard, block_samples=block)


def _uint8_ranges(spec: PrecomputeSpec, timesteps: tuple[int, ...]) -> tuple[tuple[float, float] | None, ...]:
    declared = {timestep: (low, high) for timestep, low, high in spec.uint8}
    if not set(declared) <= set(timesteps):
        raise ValueError(
            f"PrecomputeSpec.uint8 must name captured timesteps, got {sorted(declared)} for {timesteps}; name some of "
            "these"
        )
    return tuple(declared.get(t) for t in timesteps)
