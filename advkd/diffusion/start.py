"""Where a trajectory starts: the noise, and what it is conditioned on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Start:
    """A batch of starts.

    Attributes:
        noise: x_T, unit normal, `[B, C, H, W]`.
        condition: what the samples are conditioned on, by the name under which networks take it (`class_labels`,
            `encoder_hidden_states`), each `[B, ...]`; empty without a condition.
    """

    noise: Tensor
    condition: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.noise)

    def split(self, rows: int) -> Iterator["Start"]:
        """Consecutive starts of `rows` samples, the last one of the rest."""
        for first in range(0, len(self), rows):
            part = slice(first, first + rows)
            yield Start(self.noise[part], {name: values[part] for name, values in self.condition.items()})

    def to(self, device: object) -> "Start":
        """The same on another device; arguments as those of `torch.Tensor.to`."""
        moved = {name: values.to(device) for name, values in self.condition.items()}  # type: ignore[call-overload]
        return Start(self.noise.to(device), moved)  # type: ignore[call-overload]
