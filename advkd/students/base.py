"""The protocol of students, and the spec of the layerwise one."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from advkd.diffusion import SkipCoefficients


@dataclass(frozen=True, kw_only=True)
class StudentSpec:
    """The shape of a layerwise student; its time grid comes from the store.

    Attributes:
        kind: a name in `advkd.students.STUDENTS`, of a class with what `EstimatingStudent` lists.
        width: channels of the hidden features at the finest level.
        blocks: residual blocks per submodule and level: one number for all, or one for each submodule, from noisy to
            clean.
        patch: side of the pixel block that becomes one position (pixel-unshuffle); it must divide height and width.
        levels: resolutions inside each submodule. Each halves the sides and doubles the channels, up to four times
            `width`; `patch * 2^(levels - 1)` must divide height and width.
        attention: whether positions of the coarsest level attend to each other, once per submodule.
    """

    kind: str = "LayerwiseStudent"
    width: int = 48
    blocks: int | tuple[int, ...] = 2
    patch: int = 2
    levels: int = 1
    attention: bool = False

    def __post_init__(self) -> None:
        each = self.blocks if isinstance(self.blocks, tuple | list) else (self.blocks,)
        for name, value in (
            *((name, getattr(self, name)) for name in ("width", "patch", "levels")),
            *(("blocks", count) for count in each),
        ):
            if value < 1:
                raise ValueError(f"StudentSpec.{name} must be positive, got {value}; use at least 1")


class Student(Protocol):
    """A chain of K submodules; one forward pass from noise to the clean state.

    An unconditional student is called with noise alone: `predictions(noise)`, `student(noise)`. The class of any other
    names the kinds of conditions that it takes as `condition_kinds`.
    """

    timesteps: tuple[int, ...]
    sample_shape: tuple[int, int, int]
    coefficients: SkipCoefficients
    """Skip and gain at `timesteps[1:]` (docs/method.md 3.2); they also give the clean image that a state implies."""

    def predictions(self, noise: Tensor, **condition: Tensor) -> list[Tensor]:
        """Returns the predicted states `x_hat_{t_1} ... x_hat_{t_K}`, each `[B, C, H_k, W_k]`."""

    def __call__(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """Returns only the clean state, `[B, C, H, W]`; skips the inner heads."""
