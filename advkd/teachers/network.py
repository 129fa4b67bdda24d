"""A teacher that is a network under one of diffusers' schedulers: what all families of such teachers have in common."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels, Space, Start, TimeGrid, drawn_condition, embedded
from advkd.teachers.base import SolverSpec
from advkd.teachers.solving import scheduler_facts, solve, time_grid


@dataclass(frozen=True)
class FixedCondition:
    """A condition that is the same for all samples.

    Attributes:
        words: what it is, as a part of a sentence; two conditions of one teacher have different words.
        tensors: returns what the network takes of one sample, each `[1, ...]`; nothing for an unconditional network.
            It may load a text encoder.
    """

    words: str
    tensors: Callable[[], Mapping[str, Tensor]]


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
        memory_format: of the states that the network is given.
    """

    name: str
    fingerprint: str
    unguided: str = ""
    space: Space
    conditions: Conditions
    device: torch.device
    scheduler: Mapping[str, Any]
    vouched: bool = False
    memory_format: torch.memory_format = torch.channels_last

    def unguided_copy(self) -> Self:
        """Returns the teacher without guidance, so that a pass is one call for each sample; they share the network."""
        other = copy.copy(self)
        if hasattr(other, "guidance"):
            other.guidance = 1.0
        return other

    def null_condition(self) -> FixedCondition:
        """Returns the condition under which nothing is asked for, or a fixed one where the network knows no such."""
        if isinstance(self.conditions, Labels):
            return FixedCondition("class 0", lambda: {"class_labels": torch.zeros(1, dtype=torch.int64)})
        if self.conditions.facts is None:
            return FixedCondition("no condition", dict)
        conditions = self.conditions
        return FixedCondition(
            "the condition of sample 0", lambda: embedded(conditions, drawn_condition(conditions, 0, [0]))
        )

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
        noise = start.noise.to(self.device, torch.float32, memory_format=self.memory_format)
        told = embedded(self.conditions, start.condition)
        condition = {name: values.to(self.device) for name, values in told.items()}
        yield from solve(
            lambda state, time: self.predict(state, time, condition), self.scheduler, solver, noise, labels, seeds
        )
