"""The one table of solvers: diffusers' own schedulers, the states that they pass through, whether they draw noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from diffusers import DDIMScheduler, DDPMScheduler

from advkd.diffusion import solver_grid
from storage.tables import Table

Scheduler: TypeAlias = Any
"""A scheduler of diffusers, or what has its `set_timesteps`, `step(...).prev_sample` and `config`; without types."""


@dataclass(frozen=True, kw_only=True)
class Solver:
    """One way of going from noise to the clean state.

    Attributes:
        deterministic: whether the states are a function of the noise, so that a pointwise loss on them makes sense.
        build: from a teacher's scheduler config to a scheduler that ends at the clean state.
        labels: from the number of the teacher's training timesteps and of steps to the labels of the states passed.
            Raises `ValueError` for an impossible number.
        arguments: of every call of `step`.
    """

    deterministic: bool
    build: Callable[[Mapping[str, Any]], Scheduler]
    labels: Callable[[int, int], tuple[int, ...]] = solver_grid
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _ddim(config: Mapping[str, Any]) -> Scheduler:
    return DDIMScheduler.from_config(config, timestep_spacing="trailing", set_alpha_to_one=True)


def _ddpm(config: Mapping[str, Any]) -> Scheduler:
    return DDPMScheduler.from_config(config, timestep_spacing="trailing")


SOLVERS: Table[Solver] = Table(
    "advkd.solvers",
    "a solver",
    {
        # Song et al. 2021 (https://arxiv.org/abs/2010.02502), Eq. 12 with sigma = 0.
        "ddim": Solver(deterministic=True, build=_ddim, arguments={"eta": 0.0}),
        # Ancestral, Ho et al. 2020 (https://arxiv.org/abs/2006.11239).
        "ddpm": Solver(deterministic=False, build=_ddpm),
    },
)
"""By the name that `SolverSpec.kind` gives."""
