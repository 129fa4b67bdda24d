"""What a teacher is: a fingerprint, a space, conditions, time grids, and states that it yields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from advkd.diffusion import Conditions, Space, Start, TimeGrid
from advkd.teachers.solvers import SOLVERS


class TeacherError(ValueError):
    """A teacher that cannot be used: the message says what is wrong with it and what to do."""


class TeacherChangedError(TeacherError):
    """A teacher is not what it was: it was replaced, or is being uploaded."""


class TeacherUnreachableError(TeacherError, ConnectionError):
    """A teacher that could not be fetched now."""


@dataclass(frozen=True, kw_only=True)
class SolverSpec:
    """How a teacher is sampled.

    Attributes:
        kind: name in `SOLVERS`: "ddim" (deterministic), "ddpm" (ancestral), or one that an installed package adds.
        steps: network passes per image, 1 to the teacher's number of training timesteps.
    """

    kind: str = "ddim"
    steps: int = 20

    def __post_init__(self) -> None:
        SOLVERS.choose(self.kind, "SolverSpec.kind")
        if self.steps < 1:
            raise ValueError(f"solver steps must be positive, got {self.steps}; use 20 for a DDIM teacher")

    @property
    def deterministic(self) -> bool:
        """Whether the states are a function of the noise, so that a pointwise loss on them makes sense."""
        return SOLVERS[self.kind].deterministic


class Teacher(Protocol):
    """A diffusion model as a source of trajectories."""

    @property
    def name(self) -> str:
        """Slug: lower-case letters, digits and dashes."""

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over everything that its states depend on."""

    @property
    def space(self) -> Space:
        """Where its states live: their shape, and how they become images."""

    @property
    def conditions(self) -> Conditions:
        """What its samples are conditioned on, and from which distribution that is drawn."""

    def grid(self, solver: SolverSpec) -> TimeGrid:
        """All states that a solver passes through.

        Raises:
            ValueError: a solver that does not fit the teacher, or an impossible number of steps.
        """

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """Everything (JSON) that, with the weights, reproduces the solver's arithmetic."""

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Yields the states `[B, C, H, W]` at `labels`, from the noise itself to the clean state (0).

        Args:
            start: x_T and condition of B samples.
            solver: the solver and its number of steps.
            labels: strictly decreasing, of the solver's grid, the noise's first and the clean state's last.
            seeds: one per sample, for the noise that a stochastic solver injects; required by "ddpm".
        """


class NetworkTeacher(Teacher, Protocol):
    """A teacher with a network, whose cost can be compared with a student's."""

    @property
    def network(self) -> nn.Module:
        """What one solver step runs once; its parameters are counted."""
