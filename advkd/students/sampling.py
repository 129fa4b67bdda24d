"""Sampling that every student has: images from seeds, one network pass each, with the noise that a store would use.

This file travels with a registered model (`advkd.export.bundle`), so that the loaded model draws the same images.
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
    """Clean images `[n, C, H, W]` and, on request, the K predicted states at their own sizes, the last one clean.

    All are float32 on the CPU.
    """

    images: Tensor
    states: tuple[Tensor, ...] = ()


class SeededSampling:
    """Mixin for students: modules from noise to image that have `predictions` and `sample_shape`."""

    def check_condition(self, count: int, **condition: Tensor) -> None:
        """Checks a condition before anything is computed: students that take one say what is wrong with it.

        Args:
            count: images.
            **condition: condition tensors, each `[count, ...]`.

        Raises:
            ValueError: it is missing, superfluous or none that the student knows.
        """

    @torch.no_grad()
    def sample(
        self: Any, n: int, seed: int = 0, *, batch_size: int = BATCH_SIZE, states: bool = False, **condition: Tensor
    ) -> Samples:
        """Samples `n` images; image i starts from the noise of sample i in a store with this base seed.

        Image i depends on `(seed, i)` alone, bit for bit: every pass has `batch_size` rows, the last one padded.
        Kernels choose their order of summation by the number of rows, so another `batch_size` or device differs by
        rounding (1e-6 of the largest value on a CPU).

        Args:
            n: images, at least 1.
            seed: base seed in [0, 2**63).
            batch_size: rows per pass; eight are as fast per image as more on a CPU core, 64 or more suit a GPU.
            states: whether to return the predicted states too, from noisy to clean.
            **condition: condition tensors, each `[n, ...]`, for a conditional student.

        Raises:
            ValueError: `n` or `batch_size` is below 1, the seed is out of range, or the condition does not fit.
        """
        for name, count in (("images", n), ("rows per pass", batch_size)):
            if count < 1:
                raise ValueError(f"the number of {name} must be positive, got {count}; ask for at least 1")
        self.check_condition(n, **condition)
        weight = next(self.parameters())
        passes = []
        for first, noise in _noises(n, seed, batch_size, self.sample_shape):
            moved = noise.to(weight.device, weight.dtype)
            # Padding rows of the last pass repeat the last condition.
            rows = torch.arange(first, first + batch_size).clamp_max(n - 1)
            batch_condition = {name: values[rows].to(weight.device) for name, values in condition.items()}
            predicted = self.predictions(moved, **batch_condition) if states else [self(moved, **batch_condition)]
            passes.append([state.float().cpu() for state in predicted])
        whole = [torch.cat(parts)[:n].contiguous() for parts in zip(*passes, strict=True)]
        return Samples(images=whole[-1], states=tuple(whole) if states else ())


def _noises(n: int, seed: int, rows: int, shape: tuple[int, ...]) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, n, rows):
        noise = torch.zeros(rows, *shape)
        drawn = torch.from_numpy(initial_noise(seed, start, min(n, start + rows), shape))
        noise[: len(drawn)] = drawn
        yield start, noise
