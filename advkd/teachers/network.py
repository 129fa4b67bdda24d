"""A teacher that is a network under one of diffusers' schedulers: what all families of such teachers have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Space, Start, TimeGrid, embedded
from advkd.teachers.base import SolverSpec
from advkd.teachers.solving import scheduler_facts, solve, time_grid


class NetworkTeacher(ABC):
    """A `Teacher` that computes in float32.

    Attributes:
        name: see `Teacher.name`.
        fingerprint: see `Teacher.fingerprint`.
        unguided: fingerprint of the same teacher without guidance; "" if it has none.
        space: see `Teacher.space`.
        conditions: see `Teacher.conditions`.
        device: where the network is.
        scheduler: config of the scheduler that the network was trained with, as the folder has it.
        vouched: whether the user said what the network predicts, so that nothing has to be found out.
    """

    name: str
    fingerprint: str
    unguided: str = ""
    space: Space
    conditions: Conditions
    device: torch.device
    scheduler: Mapping[str, Any]
    vouched: bool = False

    @abstractmethod
    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Returns the network's prediction for states `[B, C, H, W]`; channels beyond C are a predicted variance."""

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """See `Teacher.grid`."""
        return time_grid(self.scheduler, solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`."""
        return scheduler_facts(self.scheduler, solver)

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """See `Teacher.states`; the states stay on the teacher's device."""
        noise = start.noise.to(self.device, torch.float32, memory_format=torch.channels_last)
        told = embedded(self.conditions, start.condition)
        condition = {name: values.to(self.device) for name, values in told.items()}
        yield from solve(
            lambda state, time: self.predict(state, time, condition), self.scheduler, solver, noise, labels, seeds
        )
