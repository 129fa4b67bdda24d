"""A teacher of which only the shape is known, for plans, which need no weights."""

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
from advkd.teachers import SolverSpec, split_options, split_pin, time_grid

_SHAPE = re.compile(r"([0-9]+)x([0-9]+)x([0-9]+)")


@dataclass(frozen=True)
class UnseenTeacher:
    """A `Teacher` for plans, which compute no states; has the schedule of DDPM with 1000 timesteps.

    A plan does not depend on the schedule's values. Only for a teacher with another number of timesteps, the check of
    the number of solver steps may be wrong.
    """

    space: Pixels
    """Space of the given shape."""
    guidance: float | None = None
    """Scale of classifier-free guidance, with two passes per step; None: none."""

    conditions = UNCONDITIONAL
    name = "unseen"
    fingerprint = "0" * 64

    @classmethod
    def of(cls, text: str, source: str = "") -> "UnseenTeacher":
        """Parses a shape such as `3x256x256`, and the guidance of a source; raises `ValueError` for any other text."""
        match = _SHAPE.fullmatch(text.strip().lower())
        shape = tuple(map(int, match.groups())) if match else ()
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"--shape must be channels x height x width, all positive, got {text!r}; write 3x256x256")
        scale = split_options(split_pin(source)[0])[1].guidance
        return cls(Pixels(shape), None if scale == 1 else scale)

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """That of the solver on DDPM's linear schedule."""
        return time_grid({}, solver)

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """Returns the guidance alone, because the rest is unknown."""
        return {} if self.guidance is None else {"guidance_scale": self.guidance}

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Raises, because there are no weights."""
        raise ValueError("a teacher that was given by its shape computes no states; name a teacher with --teacher")
