"""The sampling loop shared by all teachers: diffusers' own schedulers around a function that predicts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from advkd.diffusion import CLEAN, check_captures, solver_grid
from advkd.teachers.base import SolverSpec

Predict = Callable[[Tensor, int], Tensor]
Scheduler: TypeAlias = Any
"""A `DDIMScheduler` or a `DDPMScheduler`: diffusers has no types."""


def build_scheduler(config: Mapping[str, object], solver: SolverSpec) -> Scheduler:
    """Diffusers' scheduler of a teacher's config, set to trailing timesteps and to end at the clean state."""
    if solver.kind == "ddim":
        scheduler = DDIMScheduler.from_config(config, timestep_spacing="trailing", set_alpha_to_one=True)
    else:
        scheduler = DDPMScheduler.from_config(config, timestep_spacing="trailing")
    scheduler.set_timesteps(solver.steps)
    return scheduler


def scheduler_facts(scheduler: Scheduler) -> dict[str, Any]:
    """The scheduler's class and config as plain JSON, without diffusers' private keys."""
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {"class": type(scheduler).__name__, **config}


@torch.no_grad()
def solve(
    predict: Predict,
    scheduler: Scheduler,
    noise: Tensor,
    timesteps: Sequence[int],
    seeds: Sequence[int] | None,
) -> Iterator[Tensor]:
    """Yields the states at `timesteps` of one batch of noises `[B, C, H, W]`.

    Raises:
        ValueError: `timesteps` are not complete, or seeds are missing for a stochastic solver.
    """
    steps = scheduler.num_inference_steps
    grid = solver_grid(scheduler.config.num_train_timesteps, steps)
    if tuple(timesteps) != check_captures(grid, timesteps):
        raise ValueError(
            f"timesteps must begin with the noise's ({grid[0]}) and end with the clean state's (0), got "
            f"{tuple(timesteps)}; complete them with check_captures"
        )
    extra = _step_arguments(scheduler, noise, seeds)
    wanted = set(timesteps)
    state = noise
    for time, following in zip(grid, (*grid[1:], None), strict=True):
        if time in wanted and (time != CLEAN or following is None):
            yield state
        if following is not None:
            state = scheduler.step(predict(state, time), time, state, return_dict=True, **extra).prev_sample


def _step_arguments(scheduler: Scheduler, noise: Tensor, seeds: Sequence[int] | None) -> dict[str, object]:
    if isinstance(scheduler, DDIMScheduler):
        return {"eta": 0.0}
    if seeds is None or len(seeds) != len(noise):
        raise ValueError(
            f"a stochastic solver needs one seed per sample, got {0 if seeds is None else len(seeds)} for "
            f"{len(noise)} samples; take them from storage.records.seeding.solver_seeds"
        )
    return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}
