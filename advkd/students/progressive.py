"""The paper's student: it grows from 4x4 to the image, and its k-th submodule predicts the teacher's k-th state.

Adv-KD (https://arxiv.org/abs/2405.20675), widths and layers as in the authors' released code. Unlike `layerwise`, it
predicts states, not clean images, and has no skip. A diffusers `ModelMixin`, whose source travels with its weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from advkd.diffusion import skip_coefficients
from advkd.students.sampling import SeededSampling

COARSE = 4
FINEST_FIRST = 8


class ProgressiveStudent(SeededSampling, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """`h_0 = x_T at 4x4`, `h_k = S_k(h_{k-1})`, `x_hat_k = head_k(h_k)` at the side `2^(k // 2 + 3)`, k from 0."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_shape: Sequence[int],
        timesteps: Sequence[int],
        signal: Sequence[float],
        sigma: Sequence[float],
        width: int = 16,
        space: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds an untrained student.

        Args:
            sample_shape: `[C, S, S]`, S a power of two, at least 8.
            timesteps: time grid `t_0 > ... > t_K = 0` of the store; K submodules.
            signal: `a_t` on the grid, for whoever compares noise levels.
            sigma: `s_t` on the grid.
            width: channels of submodules at 8x8; doubled with the side, up to eight times.
            space: of the states, by its kind; None: pixels.

        Raises:
            ValueError: an image of another shape, or too few submodules to grow to it.
        """
        super().__init__()
        channels, height, columns = sample_shape
        self.timesteps = tuple(timesteps)
        self.sample_shape = (channels, height, columns)
        self.coefficients = skip_coefficients(signal, sigma)
        self.sides = submodule_sides(height, columns, len(self.timesteps) - 1)
        submodules, heads = [], []
        before, features = COARSE, channels
        for k, side in enumerate(self.sides):
            found = width * min(side // FINEST_FIRST, 8)
            # The first two submodules have one block, the others two, of which the second grows.
            blocks = [] if k < 2 else [flat_block(features, found)]
            last = growing_block if side > before else flat_block
            submodules.append(nn.Sequential(*blocks, last(found if blocks else features, found)))
            heads.append(StateHead(found, channels))
            before, features = side, found
        self.submodules = nn.ModuleList(submodules)
        self.heads = nn.ModuleList(heads)

    def coarse(self, noise: Tensor) -> Tensor:
        """Unit normal noise `[B, C, S, S]`, or its box means, as unit normal noise `[B, C, 4, 4]`.

        A mean over n pixels has the variance 1 / n, so it is multiplied by sqrt(n).
        """
        return nn.functional.adaptive_avg_pool2d(noise, COARSE) * (self.sample_shape[1] / COARSE)

    def prediction(self, coarse: Tensor, submodule: int) -> Tensor:
        """The state that one submodule predicts from the 4x4 input, `[B, C, side, side]`; other heads are skipped."""
        hidden = coarse.contiguous(memory_format=torch.channels_last)
        for part in self.submodules[: submodule + 1]:
            hidden = part(hidden)
        return self.heads[submodule](hidden)  # type: ignore[no-any-return]

    def predictions(self, noise: Tensor) -> list[Tensor]:
        """The predicted states at `timesteps[1:]` of unit normal `noise`, each at its submodule's side."""
        hidden = self.coarse(noise).contiguous(memory_format=torch.channels_last)
        found = []
        for part, head in zip(self.submodules, self.heads, strict=True):
            hidden = part(hidden)
            found.append(head(hidden))
        return found

    def forward(self, noise: Tensor) -> Tensor:
        """The clean state of unit normal `noise`, both `[B, C, S, S]`, in one pass; inner heads are skipped."""
        return self.prediction(self.coarse(noise), len(self.sides) - 1)


class NormedBlock(nn.Module):
    """A convolution, BatchNorm, LeakyReLU: `[B, features, H, W]` to `[B, width, H, W]`, or twice H and W."""

    def __init__(self, conv: nn.Module, width: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalised by the batch in training, by running statistics else."""
        return nn.functional.leaky_relu(self.norm(self.conv(hidden)), 0.01, inplace=True)


def flat_block(features: int, width: int) -> NormedBlock:
    """Keeps the side."""
    return NormedBlock(nn.Conv2d(features, width, 3, padding=1), width)


def growing_block(features: int, width: int) -> NormedBlock:
    """Doubles the side by a transposed convolution."""
    return NormedBlock(nn.ConvTranspose2d(features, width, 3, stride=2, padding=1, output_padding=1), width)


class StateHead(nn.Module):
    """From hidden features to a state in [-1, 1]: `[B, width, H, W]` to `[B, C, H, W]`."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.block = flat_block(width, width)
        self.conv = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """One state per sample."""
        return torch.tanh(self.conv(self.block(hidden)))


def submodule_sides(height: int, width: int, submodules: int) -> tuple[int, ...]:
    """At which side each submodule works: `2^(k // 2 + 3)` for k from 0, and never more than the image.

    Raises:
        ValueError: an image that it cannot grow to, or too few submodules to reach it.
    """
    if height != width or height < FINEST_FIRST or height & (height - 1):
        raise ValueError(
            f"a progressive student makes square images whose side is a power of two from {FINEST_FIRST} on, got "
            f"{height}x{width}; train a layerwise student"
        )
    sides = tuple(min(2 ** (k // 2 + 3), height) for k in range(submodules))
    needed = 2 * (height.bit_length() - 4) + 1
    if submodules < needed:
        raise ValueError(
            f"a progressive student doubles its side with every second submodule, so {height}x{width} images need "
            f"{needed} states besides the noise, got {submodules}; precompute with captures={needed} or more"
        )
    return sides
