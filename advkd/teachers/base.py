"""What a teacher is: a fingerprint, a shape, a noise schedule, and states that it yields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from advkd.diffusion import NoiseSchedule

SOLVERS = ("ddim", "ddpm")


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
        kind: "ddim" (deterministic, Song et al. 2021 Eq. 12 with sigma = 0) or "ddpm" (ancestral, Ho et al. 2020).
        steps: network passes per image, 1 to the teacher's number of training timesteps.
    """

    kind: str = "ddim"
    steps: int = 20

    def __post_init__(self) -> None:
        if self.kind not in SOLVERS:
            raise ValueError(f"a solver must be one of {SOLVERS}, got {self.kind!r}; choose one of them")
        if self.steps < 1:
            raise ValueError(f"solver steps must be positive, got {self.steps}; use 20 for a DDIM teacher")

    @property
    def deterministic(self) -> bool:
        """Whether the states are a function of the noise, so that a pointwise loss on them makes sense."""
        return self.kind == "ddim"


class Teacher(Protocol):
    """A diffusion model as a source of trajectories, in its own space (pixels in [-1, 1])."""

    @property
    def name(self) -> str:
        """Slug: lower-case letters, digits and dashes."""

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over everything that its states depend on."""

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """`[C, H, W]` of one state."""

    @property
    def schedule(self) -> NoiseSchedule:
        """`(a_t, s_t)` for every training timestep."""

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """Everything (JSON) that, with the weights, reproduces the solver's arithmetic."""

    def states(
        self, noise: Tensor, solver: SolverSpec, timesteps: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Yields the states `[B, C, H, W]` at `timesteps`, from the noise itself to the clean state (time 0).

        Args:
            noise: x_T, unit normal, `[B, C, H, W]`.
            solver: the solver and its number of steps.
            timesteps: strictly decreasing, on the solver's grid, the noise's time first.
            seeds: one per sample, for the noise that a stochastic solver injects; required by "ddpm".
        """
