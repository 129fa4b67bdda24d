"""The table of solvers: diffusers' schedulers, the states they pass through, and whether they draw noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from advkd.diffusion import CLEAN, NoiseSchedule, TimeGrid, discrete_grid, solver_grid
from advkd.teachers.schedulers import FLOW, VARIANCE_PRESERVING, Scheduler, full_config, rebuilt
from storage.tables import Table


def divided_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """Returns the grid of a scheduler that steps by a fixed stride: `steps` must divide the training timesteps."""
    schedule = NoiseSchedule(tuple(scheduler.alphas_cumprod.tolist()))
    return discrete_grid(schedule, solver_grid(schedule.train_timesteps, steps))


def visited_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """Returns the grid of a scheduler that has its timesteps, any number of them, in a list."""
    schedule = NoiseSchedule(tuple(scheduler.alphas_cumprod.tolist()))
    if not 1 <= steps <= schedule.train_timesteps // 2:
        raise ValueError(
            f"solver steps must lie in [1, {schedule.train_timesteps // 2}] for a solver with memory, got {steps}; the "
            f"teacher has {schedule.train_timesteps} timesteps"
        )
    scheduler.set_timesteps(steps)
    return discrete_grid(schedule, (*map(int, scheduler.timesteps.tolist()), CLEAN))


def straight_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """Returns the grid of flow matching; a state at the real time t is named by the whole number next to 1000 t."""
    if not 1 <= steps <= scheduler.config.num_train_timesteps:
        raise ValueError(
            f"solver steps must lie in [1, {scheduler.config.num_train_timesteps}], got {steps}; take fewer"
        )
    scheduler.set_timesteps(steps)
    sigmas = tuple(float(sigma) for sigma in scheduler.sigmas.double())
    labels = (*(max(1, round(sigma * scheduler.config.num_train_timesteps)) for sigma in sigmas[:-1]), CLEAN)
    if len(set(labels)) < len(labels):
        raise ValueError(
            f"states of flow matching must be a thousandth apart, got {steps} steps with shift "
            f"{scheduler.config.shift}, where some are not; take fewer steps"
        )
    return TimeGrid(labels, tuple(1.0 - sigma for sigma in sigmas), sigmas)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """A solver of the way from noise to the clean state.

    Attributes:
        deterministic: whether the states are a function of the noise, so that a pointwise loss on them makes sense.
        build: builds, from a teacher's scheduler config, a scheduler that ends at the clean state; raises `ValueError`
            for a config that it does not solve.
        grid: returns the states that the scheduler passes through in a number of steps; raises `ValueError` for an
            impossible number.
        arithmetic: how the networks were trained that it solves, of `advkd.teachers.schedulers`.
        arguments: keyword arguments of every call of `step`.
        learned_variance: whether it takes the predicted variance of a network that has one.
    """

    deterministic: bool
    build: Callable[[Mapping[str, Any]], Scheduler]
    grid: Callable[[Scheduler, int], TimeGrid] = divided_grid
    arithmetic: str = VARIANCE_PRESERVING
    arguments: Mapping[str, Any] = field(default_factory=dict)
    learned_variance: bool = False


# Trailing spacing knows no offset.
_TRAILING: dict[str, Any] = {"timestep_spacing": "trailing", "steps_offset": 0}


def _ddim(config: Mapping[str, Any]) -> Scheduler:
    return rebuilt(DDIMScheduler, config, set_alpha_to_one=True, **_TRAILING)


def _ddpm(config: Mapping[str, Any]) -> Scheduler:
    return rebuilt(DDPMScheduler, config, **_TRAILING)


_MULTISTEP: dict[str, Any] = {
    **_TRAILING,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "thresholding": False,
    **{f"use_{kind}_sigmas": False for kind in ("karras", "exponential", "beta", "flow")},
}


def _unipc(config: Mapping[str, Any]) -> Scheduler:
    settings = {"solver_order": 3, "solver_type": "bh2", "predict_x0": True, "disable_corrector": (), "solver_p": None}
    return rebuilt(UniPCMultistepScheduler, config, **_MULTISTEP, **settings)


def _dpmpp(config: Mapping[str, Any]) -> Scheduler:
    settings = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "solver_order": 2, "euler_at_final": False}
    unused = {"variance_type": None, "use_lu_lambdas": False}
    return rebuilt(DPMSolverMultistepScheduler, config, **_MULTISTEP, **settings, **unused)


class _SizedFlow(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Flow matching whose times are spaced and shifted as a pipeline does it for one size of images."""

    mu: float | None = None
    even: bool = False

    def set_timesteps(self, num_inference_steps: int, **options: Any) -> None:
        steps = num_inference_steps
        sigmas = np.linspace(1.0, 1 / steps, steps) if self.even else None
        super().set_timesteps(steps, sigmas=sigmas, mu=self.mu, **options)


def _flow_euler(config: Mapping[str, Any]) -> Scheduler:
    own, mu = full_config(config), config.get("_mu")
    if own.get("use_dynamic_shifting") and mu is None:
        raise ValueError(
            "flow-euler needs a fixed shift, got use_dynamic_shifting in the teacher's scheduler, which depends on the "
            "images' size; save the scheduler with the shift of that size"
        )
    if mu is None and not config.get("_even"):
        shift = own.get("flow_shift", own.get("shift", 1.0))
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=own["num_train_timesteps"], shift=shift)
    known = ("num_train_timesteps", "shift", "use_dynamic_shifting", "time_shift_type", "shift_terminal")
    scheduler = _SizedFlow(**{key: own[key] for key in known if key in own})
    scheduler.mu, scheduler.even = mu, bool(config.get("_even"))
    return scheduler


SOLVERS: Table[Solver] = Table(
    "advkd.solvers",
    "a solver",
    {
        # Song et al. 2021 (https://arxiv.org/abs/2010.02502), Eq. 12 with sigma = 0.
        "ddim": Solver(deterministic=True, build=_ddim, arguments={"eta": 0.0}),
        # Ancestral sampling, Ho et al. 2020 (https://arxiv.org/abs/2006.11239).
        "ddpm": Solver(deterministic=False, build=_ddpm, learned_variance=True),
        # DPM-Solver++ (2M), Lu et al. 2022 (https://arxiv.org/abs/2211.01095).
        "dpmpp": Solver(deterministic=True, build=_dpmpp, grid=visited_grid),
        # Zhao et al. 2023 (https://arxiv.org/abs/2302.04867), third order.
        "unipc": Solver(deterministic=True, build=_unipc, grid=visited_grid),
        # Lipman et al. 2022 (https://arxiv.org/abs/2210.02747), the straight line's velocity by Euler's method.
        "flow-euler": Solver(deterministic=True, build=_flow_euler, grid=straight_grid, arithmetic=FLOW),
    },
)
"""Solvers by `SolverSpec.kind`."""
