"""Converts the loader's numpy batches to torch tensors on the training device."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from advkd.diffusion import Conditions, embedded, start_of
from storage import Batch


@dataclass(frozen=True)
class TrajectoryBatch:
    """A batch on the training device.

    Attributes:
        noise: x_T, float32 `[B, C, H, W]`.
        states: `x_{t_1} ... x_{t_K}`, each float32 `[B, C, H, W]`.
        condition: tensors `[B, ...]` by the argument names of networks; empty without a condition.
    """

    noise: Tensor
    states: tuple[Tensor, ...]
    condition: Mapping[str, Tensor] = field(default_factory=dict)

    def conditioned(self, conditions: Conditions, seed: int, indices: Iterable[int]) -> "TrajectoryBatch":
        """Returns the batch with the conditions of these samples of a store."""
        start = start_of(self.noise, conditions, seed, indices)
        return replace(self, condition=embedded(conditions, start.condition))

    def split(self, parts: int) -> list["TrajectoryBatch"]:
        """Splits the batch into equal parts, in order."""
        rows = len(self.noise) // parts
        return [self._rows(slice(first, first + rows)) for first in range(0, len(self.noise), rows)]

    def head(self, rows: int) -> "TrajectoryBatch":
        """Returns the first rows."""
        return self._rows(slice(rows))

    def _rows(self, rows: slice) -> "TrajectoryBatch":
        return TrajectoryBatch(
            noise=self.noise[rows],
            states=tuple(state[rows] for state in self.states),
            condition={name: values[rows] for name, values in self.condition.items()},
        )


def to_torch(
    batch: Batch, timesteps: tuple[int, ...], device: torch.device, rows: slice = slice(None)
) -> TrajectoryBatch:
    """Copies some rows to the device in the stored dtype and converts them there; on CUDA the copy is asynchronous."""
    moved = [_move(batch.states[t][rows], device) for t in timesteps]
    return TrajectoryBatch(noise=moved[0], states=tuple(moved[1:]))


def _move(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).float()
