"""What a student is, and the frozen description of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StudentSpec:
    """The shape of a layerwise student; its time grid comes from the store.

    Attributes:
        width: channels of the hidden features.
        blocks: residual blocks per submodule.
        patch: side of the pixel block that becomes one position (pixel-unshuffle), so it must divide height and width.
    """

    width: int = 48
    blocks: int = 2
    patch: int = 2

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"StudentSpec.{name} must be positive, got {getattr(self, name)}; use at least 1")


class Student(Protocol):
    """A chain of K submodules; one forward pass from noise to the clean state."""

    timesteps: tuple[int, ...]

    def estimates(self, noise: Tensor) -> list[Tensor]:
        """The clean estimates `F_1 ... F_K`, each `[B, C, H, W]`."""

    def states(self, noise: Tensor, estimates: Sequence[Tensor]) -> list[Tensor]:
        """The predicted states `x_hat_{t_1} ... x_hat_{t_K}` from the clean estimates."""

    def __call__(self, noise: Tensor) -> Tensor:
        """The clean state alone, `[B, C, H, W]`; the inner heads are skipped."""
