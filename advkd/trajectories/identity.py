"""Derives the identity of a store from the settings: the teacher, its solver's grid, the captured states."""

import threading
from dataclasses import replace
from functools import lru_cache

from advkd.diffusion import Pixels, check_captures, spread_captures
from advkd.teachers import Teacher, fitting_solver, load_teacher
from advkd.trajectories.precompute_spec import PrecomputeSpec
from storage import TrajectorySpec, default_shard_samples

_LOADING = threading.Lock()


def cached_teacher(source: str, device: str) -> Teacher:
    """Loads a teacher once per process; the shards of a store share it, in any number of threads."""
    with _LOADING:
        return _loaded_teacher(source, device)


@lru_cache(maxsize=2)
def _loaded_teacher(source: str, device: str) -> Teacher:
    return load_teacher(source, device)


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
        shard_samples=spec.shard_samples or spec.block_samples,
        block_samples=spec.block_samples,
    )
    if spec.shard_samples is not None:
        return identity
    whole_blocks = max(1, default_shard_samples(identity.trajectory_bytes) // spec.block_samples)
    return replace(identity, shard_samples=whole_blocks * spec.block_samples)


def _uint8_ranges(spec: PrecomputeSpec, timesteps: tuple[int, ...]) -> tuple[tuple[float, float] | None, ...]:
    declared = {timestep: (low, high) for timestep, low, high in spec.uint8}
    if not set(declared) <= set(timesteps):
        raise ValueError(
            f"PrecomputeSpec.uint8 must name captured timesteps, got {sorted(declared)} for {timesteps}; name some of "
            "these"
        )
    return tuple(declared.get(t) for t in timesteps)
