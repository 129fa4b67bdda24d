"""Images from seeds: what every student can do with the noises of a store, one network pass each.

Travels with a registered model (`advkd.export.bundle`), so that whoever loads that gets the same images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from storage.records import initial_noise

BATCH_SIZE = 8


@dataclass(frozen=True)
class Samples:
    """Clean images `[n, C, H, W]` and, if asked for, the K predicted states at their sizes, the last one clean.

    float32, on the CPU.
    """

    images: Tensor
    states: tuple[Tensor, ...] = ()


class SeededSampling:
    """For a student that is a module from noise to image, with `predictions` and `sample_shape`."""

    @torch.no_grad()
    def sample(
        self: Any, n: int, seed: int = 0, *, batch_size: int = BATCH_SIZE, states: bool = False, **condition: Tensor
    ) -> Samples:
        """Samples `n` images; image i is that of the noise of sample i in a store with this base seed.

        It depends on `(seed, i)` alone, bit for bit: every pass has `batch_size` rows, the last one padded. Kernels
        choose their order of summation by the number of rows, so another `batch_size` or device differs by rounding
        (1e-6 of the largest value on a CPU).

        Args:
            n: images, at least 1.
            seed: base seed in [0, 2**63).
            batch_size: rows per pass; eight are as fast per image as more on a CPU core, 64 or more suit a GPU.
            states: also those of the inner submodules, from noisy to clean.
            **condition: what the samples are conditioned on, each `[n, ...]`, for a student that takes it.

        Raises:
            ValueError: a count below 1, or a seed out of range.
        """
        for name, count in (("images", n), ("rows per pass", batch_size)):
            if count < 1:
                raise ValueError(f"the number of {name} must be positive, got {count}; ask for at least 1")
        weight = next(self.parameters())
        passes = []
        for first, noise in _noises(n, seed, batch_size, self.sample_shape):
            moved = noise.to(weight.device, weight.dtype)
            # Rows that fill up the last pass repeat the last condition.
            rows = torch.arange(first, first + batch_size).clamp_max(n - 1)
            asked = {name: values[rows].to(weight.device) for name, values in condition.items()}
            found = self.predictions(moved, **asked) if states else [self(moved, **asked)]
            passes.append([one.float().cpu() for one in found])
        whole = [torch.cat(parts)[:n].contiguous() for parts in zip(*passes, strict=True)]
        return Samples(images=whole[-1], states=tuple(whole) if states else ())


def _noises(n: int, seed: int, rows: int, shape: tuple[int, ...]) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, n, rows):
        noise = torch.zeros(rows, *shape)
        found = torch.from_numpy(initial_noise(seed, start, min(n, start + rows), shape))
        noise[: len(found)] = found
        yield start, noise
