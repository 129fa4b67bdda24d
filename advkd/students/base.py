"""What a student is, and the frozen description of one."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from advkd.diffusion import SkipCoefficients


@dataclass(frozen=True, kw_only=True)
class StudentSpec:
    """The shape of a layerwise student; its time grid comes from the store.

    Attributes:
        width: channels of the hidden features.
        blocks: residual blocks per submodule; or one number for each, from noisy to clean.
        patch: side of the pixel block that becomes one position (pixel-unshuffle), so it must divide height and width.
    """

    width: int = 48
    blocks: int | tuple[int, ...] = 2
    patch: int = 2

    def __post_init__(self) -> None:
        each = self.blocks if isinstance(self.blocks, tuple | list) else (self.blocks,)
        for name, value in (("width", self.width), ("patch", self.patch), *(("blocks", count) for count in each)):
            if value < 1:
                raise ValueError(f"StudentSpec.{name} must be positive, got {value}; use at least 1")


class Student(Protocol):
    """A chain of K submodules; one forward pass from noise to the clean state.

    A student without a condition takes none: `predictions(noise)`, `student(noise)`.
    """

    timesteps: tuple[int, ...]
    sample_shape: tuple[int, int, int]
    coefficients: SkipCoefficients
    """Of the schedule on `timesteps`, which say what clean image a state implies."""

    def predictions(self, noise: Tensor, **condition: Tensor) -> list[Tensor]:
        """The predicted states `x_hat_{t_1} ... x_hat_{t_K}`, each `[B, C, H_k, W_k]`."""

    def __call__(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """The clean state alone, `[B, C, H, W]`; the inner heads are skipped."""
