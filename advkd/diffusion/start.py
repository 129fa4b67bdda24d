"""Where a trajectory starts: the noise and the condition."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Start:
    """A batch of starts.

    Attributes:
        noise: x_T, unit normal, `[B, C, H, W]`.
        condition: tensors by the name of the network's argument (`class_labels`, `encoder_hidden_states`), each
            `[B, ...]`; empty for unconditional samples.
    """

    noise: "Tensor"
    condition: "Mapping[str, Tensor]" = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.noise)

    def split(self, rows: int) -> Iterator["Start"]:
        """Yields consecutive starts of `rows` samples each; the last one holds the rest."""
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            yield Start(self.noise[part], {name: values[part] for name, values in self.condition.items()})

    def to(self, device: object) -> "Start":
        """Moves the start to a device; takes what `torch.Tensor.to` takes."""
        moved = {name: values.to(device) for name, values in self.condition.items()}  # type: ignore[call-overload]
        return Start(self.noise.to(device), moved)  # type: ignore[call-overload]
