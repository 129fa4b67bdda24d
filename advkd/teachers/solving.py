"""The sampling loop shared by teachers with discrete times: a solver's scheduler around a function that predicts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import CLEAN, check_captures
from advkd.teachers.base import SolverSpec
from advkd.teachers.solvers import SOLVERS, Scheduler

Predict = Callable[[Tensor, int], Tensor]


def build_scheduler(config: Mapping[str, object], solver: SolverSpec) -> Scheduler:
    """The solver's scheduler for a teacher's config, set to its number of steps."""
    scheduler = SOLVERS[solver.kind].build(config)
    scheduler.set_timesteps(solver.steps)
    return scheduler


def scheduler_facts(scheduler: Scheduler) -> dict[str, Any]:
    """The scheduler's class and config as plain JSON, without diffusers' private keys."""
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {"class": type(scheduler).__name__, **config}


@torch.no_grad()
def solve(
    predict: Predict,
    config: Mapping[str, object],
    solver: SolverSpec,
    noise: Tensor,
    labels: Sequence[int],
    seeds: Sequence[int] | None,
) -> Iterator[Tensor]:
    """Yields the states at `labels` of one batch of noises `[B, C, H, W]`.

    Args:
        predict: what the scheduler's config says that it predicts, for a state and a training timestep.
        config: of the teacher's scheduler.
        solver: the solver and its number of steps.
        noise: x_T.
        labels: of the states that are wanted, the noise's first and the clean state's last.
        seeds: one per sample, for a stochastic solver.

    Raises:
        ValueError: `labels` are not complete, or seeds are missing for a stochastic solver.
    """
    scheduler = build_scheduler(config, solver)
    grid = SOLVERS[solver.kind].labels(scheduler.config.num_train_timesteps, solver.steps)
    if tuple(labels) != check_captures(grid, labels):
        raise ValueError(
            f"timesteps must begin with the noise's ({grid[0]}) and end with the clean state's (0), got "
            f"{tuple(labels)}; complete them with check_captures"
        )
    arguments = {**SOLVERS[solver.kind].arguments, **_generators(solver, noise, seeds)}
    wanted = set(labels)
    state = noise
    for time, following in zip(grid, (*grid[1:], None), strict=True):
        if time in wanted and (time != CLEAN or following is None):
            yield state
        if following is not None:
            state = scheduler.step(predict(state, time), time, state, return_dict=True, **arguments).prev_sample


def _generators(solver: SolverSpec, noise: Tensor, seeds: Sequence[int] | None) -> dict[str, object]:
    if solver.deterministic:
        return {}
    if seeds is None or len(seeds) != len(noise):
        raise ValueError(
            f"a stochastic solver needs one seed per sample, got {0 if seeds is None else len(seeds)} for "
            f"{len(noise)} samples; take them from storage.records.solver_seeds"
        )
    return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]}
