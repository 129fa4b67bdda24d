"""From the loader's numpy batches to torch tensors on the training device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storage import Batch


@dataclass(frozen=True)
class TrajectoryBatch:
    """One batch in float32 on the device: the noise x_T and the states `x_{t_1} ... x_{t_K}`, each `[B, C, H, W]`."""

    noise: Tensor
    states: tuple[Tensor, ...]

    def split(self, parts: int) -> list["TrajectoryBatch"]:
        """Equal parts, in order."""
        rows = len(self.noise) // parts
        pieces = zip(self.noise.split(rows), *(state.split(rows) for state in self.states), strict=True)
        return [TrajectoryBatch(noise=noise, states=tuple(states)) for noise, *states in pieces]

    def head(self, rows: int) -> "TrajectoryBatch":
        """The first rows."""
        return TrajectoryBatch(noise=self.noise[:rows], states=tuple(state[:rows] for state in self.states))


def to_torch(
    batch: Batch, timesteps: tuple[int, ...], device: torch.device, rows: slice = slice(None)
) -> TrajectoryBatch:
    """Copies some rows to the device in the stored dtype and converts there; the copy is asynchronous on CUDA."""
    moved = [_move(batch.states[t][rows], device) for t in timesteps]
    return TrajectoryBatch(noise=moved[0], states=tuple(moved[1:]))


def _move(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).float()
