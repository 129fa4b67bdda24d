"""The table of solvers: diffusers' schedulers, the states they pass through, and whether they draw noise.

diffusers is imported when a scheduler is built: it takes seconds, and tables are looked at by every command.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from advkd.diffusion import CLEAN, NoiseSchedule, TimeGrid, discrete_grid, solver_grid
from advkd.teachers.schedulers import EDM, FLOW, VARIANCE_PRESERVING, Scheduler, full_config, rebuilt, reset
from storage.tables import Table

Number = TypeVar("Number", int, float)

EDM_LABELS = 1000
"""States of EDM teachers are named by their places, 1000 to 1, on the way from the largest noise level to the least."""


def set_passes(scheduler: Scheduler, passes: int) -> None:
    """Sets the timesteps for a number of network passes; Heun's method takes two in each step but the last.

    Raises:
        ValueError: a solver of second order is to make an even number of passes.
    """
    order = getattr(scheduler, "order", 1)
    if order == 2 and passes % 2 == 0:
        raise ValueError(
            f"solver steps are network passes, of which Heun's method makes an odd number, got {passes}; take "
            f"{passes - 1} or {passes + 1}"
        )
    scheduler.set_timesteps((passes + 1) // 2 if order == 2 else passes)


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
    set_passes(scheduler, steps)
    return discrete_grid(schedule, (*_of_states(scheduler, [int(time) for time in scheduler.timesteps]), CLEAN))


def straight_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """Returns the grid of flow matching; a state at the real time t is named by the whole number next to 1000 t."""
    if not 1 <= steps <= scheduler.config.num_train_timesteps:
        raise ValueError(
            f"solver steps must lie in [1, {scheduler.config.num_train_timesteps}], got {steps}; take fewer"
        )
    set_passes(scheduler, steps)
    sigmas = _of_states(scheduler, scheduler.sigmas.double().tolist())
    labels = (*(max(1, round(sigma * scheduler.config.num_train_timesteps)) for sigma in sigmas[:-1]), CLEAN)
    if len(set(labels)) < len(labels):
        raise ValueError(
            f"states of flow matching must be a thousandth apart, got {steps} steps with shift "
            f"{scheduler.config.shift}, where some are not; take fewer steps"
        )
    return TimeGrid(labels, tuple(1.0 - sigma for sigma in sigmas), sigmas)


def noise_levels_grid(scheduler: Scheduler, steps: int) -> TimeGrid:
    """Returns the grid of EDM's states `(x_0 + sigma eps) / sqrt(1 + sigma^2)` (docs/method.md 2)."""
    set_passes(scheduler, steps)
    *levels, _ = _of_states(scheduler, scheduler.sigmas.double().tolist())
    if len(levels) > EDM_LABELS:
        raise ValueError(f"an EDM teacher's steps must be at most {EDM_LABELS}, got {len(levels)}; take fewer")
    places = [EDM_LABELS - round((EDM_LABELS - 1) * k / max(1, len(levels) - 1)) for k in range(len(levels))]
    scales = [math.hypot(1.0, level) for level in levels]
    signal = (*(1.0 / scale for scale in scales), 1.0)
    sigma = (*(level / scale for level, scale in zip(levels, scales, strict=True)), 0.0)
    return TimeGrid((*places, CLEAN), signal, sigma)


def _of_states(scheduler: Scheduler, of_passes: list[Number]) -> tuple[Number, ...]:
    """Drops the entries of passes that only correct a step."""
    kept = of_passes if getattr(scheduler, "order", 1) == 1 else of_passes[:1] + of_passes[1::2]
    return tuple(kept)


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
    from diffusers import DDIMScheduler

    return rebuilt(DDIMScheduler, config, set_alpha_to_one=True, **_TRAILING)


def _ddpm(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import DDPMScheduler

    return rebuilt(DDPMScheduler, config, **_TRAILING)


_MULTISTEP: dict[str, Any] = {
    **_TRAILING,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "thresholding": False,
    **{f"use_{kind}_sigmas": False for kind in ("karras", "exponential", "beta", "flow")},
}


_EDM_SECOND_ORDER: dict[str, Any] = {
    "solver_order": 2,
    "solver_type": "midpoint",
    "algorithm_type": "dpmsolver++",
    "lower_order_final": True,
    "euler_at_final": False,
    "thresholding": False,
}


def _unipc(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import UniPCMultistepScheduler

    settings = {"solver_order": 3, "solver_type": "bh2", "predict_x0": True, "disable_corrector": (), "solver_p": None}
    return rebuilt(UniPCMultistepScheduler, config, **_MULTISTEP, **settings)


def _dpmpp(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import DPMSolverMultistepScheduler

    settings = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "solver_order": 2, "euler_at_final": False}
    unused = {"variance_type": None, "use_lu_lambdas": False}
    return rebuilt(DPMSolverMultistepScheduler, config, **_MULTISTEP, **settings, **unused)


def _heun(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import HeunDiscreteScheduler

    from advkd.teachers.edm import UnitVariance

    settings = {f"use_{kind}_sigmas": False for kind in ("karras", "exponential", "beta")}
    scheduler = rebuilt(HeunDiscreteScheduler, config, **_TRAILING, **settings)
    if float(scheduler.alphas_cumprod[-1]) <= 0:
        raise ValueError(
            "heun needs some signal at the last timestep, got none (rescale_betas_zero_snr) in the teacher's "
            "scheduler; choose another solver"
        )
    return UnitVariance(scheduler)


def _edm(name: str, **settings: Any) -> Callable[[Mapping[str, Any]], Scheduler]:
    def build(config: Mapping[str, Any]) -> Scheduler:
        import diffusers

        from advkd.teachers import edm

        kind = edm.EDMHeunScheduler if name == "EDMHeunScheduler" else getattr(diffusers, name)
        return edm.UnitVariance(reset(kind, config, final_sigmas_type="zero", **settings))

    return build


def _flow_euler(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import FlowMatchEulerDiscreteScheduler

    from advkd.teachers.sized_flow import sized_flow

    own, mu, even = full_config(config), config.get("_mu"), bool(config.get("_even"))
    if mu is None and not even:
        return _flow(FlowMatchEulerDiscreteScheduler, own)
    return sized_flow(own, mu, even)


def _flow_heun(config: Mapping[str, Any]) -> Scheduler:
    from diffusers import FlowMatchHeunDiscreteScheduler

    if config.get("_even") or config.get("_mu") is not None:
        raise ValueError(
            "flow-heun has the times of its own scheduler, got a teacher whose pipeline says others; take flow-euler"
        )
    return _flow(FlowMatchHeunDiscreteScheduler, full_config(config))


def _flow(kind: type, own: Mapping[str, Any]) -> Scheduler:
    if own.get("use_dynamic_shifting"):
        raise ValueError(
            "flow matching needs a fixed shift, got use_dynamic_shifting in the teacher's scheduler, which depends on "
            "the images' size; save the scheduler with the shift of that size"
        )
    shift = own.get("flow_shift", own.get("shift", 1.0))
    return kind(num_train_timesteps=own["num_train_timesteps"], shift=shift)


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
        # Heun's method in sigma = s / a, two passes in each step but the last; Karras et al. 2022, Algorithm 1.
        "heun": Solver(deterministic=True, build=_heun, grid=visited_grid),
        # Lipman et al. 2022 (https://arxiv.org/abs/2210.02747), the straight line's velocity by Euler's method.
        "flow-euler": Solver(deterministic=True, build=_flow_euler, grid=straight_grid, arithmetic=FLOW),
        "flow-heun": Solver(deterministic=True, build=_flow_heun, grid=straight_grid, arithmetic=FLOW),
        # Karras et al. 2022 (https://arxiv.org/abs/2206.00364): Euler, Heun, and DPM-Solver++ (2M) on their levels.
        "edm-euler": Solver(
            deterministic=True, build=_edm("EDMEulerScheduler"), grid=noise_levels_grid, arithmetic=EDM
        ),
        "edm-heun": Solver(deterministic=True, build=_edm("EDMHeunScheduler"), grid=noise_levels_grid, arithmetic=EDM),
        "edm-dpmpp": Solver(
            deterministic=True,
            build=_edm("EDMDPMSolverMultistepScheduler", **_EDM_SECOND_ORDER),
            grid=noise_levels_grid,
            arithmetic=EDM,
        ),
    },
)
"""Solvers by `SolverSpec.kind`."""
