"""A teacher whose network computes in bfloat16 or float16.

States, the solver's sums and guidance stay in float32; the network gets them rounded and gives its prediction back in
float32, as with `torch_dtype=` in diffusers. Other numbers give other states: the precision is part of the solver's
config, and so of a store's digest.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from advkd.device import FLOATS, require_computes
from advkd.diffusion import Conditions, Space, Start, TimeGrid
from advkd.teachers.base import SolverSpec, Teacher
from advkd.teachers.errors import TeacherError

FLOAT32 = FLOATS[0]
PRECISION = "precision"
"""Key of the solver's config."""


def in_precision(teacher: Teacher, precision: str, device: str) -> Teacher:
    """Returns the teacher with its network in `precision`; in float32 it is the teacher as it is.

    The network itself is converted, so the teacher that was given must not be used any more.

    Raises:
        ValueError: the device has no such arithmetic.
        TeacherError: the teacher has no network that could be converted.
    """
    if precision == FLOAT32:
        return teacher
    require_computes(device, precision)
    network = getattr(teacher, "network", None)
    if not isinstance(network, nn.Module):
        raise TeacherError(
            f"passes in {precision} are for teachers with a network of their own, a torch module `network`, got none "
            f"in {teacher.name!r}; use float32"
        )
    rounded: Any = copy.copy(teacher)
    rounded.network = _Rounded(network, getattr(torch, precision))
    return PreciseTeacher(rounded, precision)


class PreciseTeacher:
    """A `Teacher` in another precision: the same weights and fingerprint, another config of the solver.

    Attributes:
        inner: the teacher with its network converted.
        precision: dtype of the network's numbers.
    """

    def __init__(self, teacher: Teacher, precision: str) -> None:
        self.inner: Teacher = teacher
        self.precision = precision
        self.name, self.fingerprint = teacher.name, teacher.fingerprint
        self.space: Space = teacher.space
        self.conditions: Conditions = teacher.conditions
        self.device = getattr(teacher, "device", torch.device("cpu"))

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """See `Teacher.grid`."""
        return self.inner.grid(solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`; with the precision."""
        return self.inner.solver_config(solver) | {PRECISION: self.precision}

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """See `Teacher.states`; the states are float32."""
        return self.inner.states(start, solver, labels, seeds)


class _Rounded(nn.Module):
    """A network in another dtype behind an interface in float32."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = network.to(dtype), dtype

    def forward(self, *arguments: Any, **named: Any) -> Any:
        output = self.inner(*map(self._rounded, arguments), **{name: self._rounded(v) for name, v in named.items()})
        output.sample = output.sample.float()
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def _rounded(self, value: Any) -> Any:
        # Times keep their digits: 999 is no number of bfloat16.
        images = isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1
        return value.to(self.dtype) if images else value
