"""A teacher of which only the shape is known: for plans, which need no weights."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from advkd.diffusion import (
    UNCONDITIONAL,
    Pixels,
    Start,
    TimeGrid,
)
from advkd.teachers import SolverSpec, time_grid

_SHAPE = re.compile(r"([0-9]+)x([0-9]+)x([0-9]+)")


@dataclass(frozen=True)
class UnseenTeacher:
    """Stands in for a `Teacher` wherever no state is computed; the schedule is that of DDPM, 1000 timesteps.

    A plan does not depend on the schedule's values, so only a teacher with another number of timesteps is told wrongly
    which numbers of solver steps divide it.
    """

    space: Pixels
    """Of the shape that was given."""

    conditions = UNCONDITIONAL
    name = "unseen"
    fingerprint = "0" * 64

    @classmethod
    def of(cls, text: str) -> "UnseenTeacher":
        """Of a shape as it is typed, `3x256x256`; `ValueError` for anything else."""
        match = _SHAPE.fullmatch(text.strip().lower())
        shape = tuple(map(int, match.groups())) if match else ()
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"--shape must be channels x height x width, all positive, got {text!r}; write 3x256x256")
        return cls(Pixels(shape))

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """That of the solver on DDPM's linear schedule."""
        return time_grid({}, solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """Nothing is known of it."""
        return {}

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Refused: there are no weights."""
        raise ValueError("a teacher that was given by its shape computes no states; name a teacher with --teacher")
