"""The protocol of teachers: fingerprint, space, conditions, time grids, and the states of a trajectory."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from advkd.diffusion import Conditions, Space, Start, TimeGrid
from advkd.teachers.solvers import SOLVERS

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class SolverSpec:
    """The solver with which a teacher is sampled.

    Attributes:
        kind: name in `SOLVERS`, which says how each solves; installed packages add others. "auto" stands for the
            best one that fits the teacher (`advkd.teachers.fitting_solver`).
        steps: network passes per image, 1 to the teacher's number of training timesteps.
    """

    kind: str = "ddim"
    steps: int = 20

    def __post_init__(self) -> None:
        if self.kind != AUTO:
            SOLVERS.choose(self.kind, "the solver")
        if self.steps < 1:
            raise ValueError(f"solver steps must be positive, got {self.steps}; use 20")

    @property
    def deterministic(self) -> bool:
        """Whether the states are a function of the noise, so that a pointwise loss on them makes sense."""
        return self.kind == AUTO or SOLVERS[self.kind].deterministic


def derived_fingerprint(fingerprint: str, what: str) -> str:
    """Returns the fingerprint of a teacher that differs from another one in `what`, such as "guidance_scale 4.0"."""
    return hashlib.sha256(f"{fingerprint} {what}".encode()).hexdigest()


class Teacher(Protocol):
    """A diffusion model as a source of trajectories."""

    @property
    def name(self) -> str:
        """Name made of lower-case letters, digits and dashes."""

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over everything that the teacher's states depend on."""

    @property
    def space(self) -> Space:
        """Space of the states: their shape, and how they are decoded into images."""

    @property
    def conditions(self) -> Conditions:
        """Kind and distribution of the conditions."""

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """Returns all states that a solver passes through.

        Raises:
            ValueError: the solver does not fit the teacher, or its number of steps is impossible.
        """

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """Returns, as JSON, everything besides the weights that reproduces the solver's arithmetic."""

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Yields the states `[B, C, H, W]` at `labels`, from the noise itself to the clean state (0).

        Args:
            start: x_T and condition of B samples.
            solver: the solver and its number of steps.
            labels: labels on the solver's grid, strictly decreasing, from the noise's to the clean state's.
            seeds: one per sample, for the noise that a stochastic solver such as "ddpm" injects.
        """
