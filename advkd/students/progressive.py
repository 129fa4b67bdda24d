"""The paper's student grows from 4x4 to the image; its k-th submodule predicts the teacher's k-th state.

Adv-KD (https://arxiv.org/abs/2405.20675), with the widths and layers of the authors' released code (docs/method.md 5).
Unlike `layerwise`, it predicts states, not clean images, and has no skip. It is a diffusers `ModelMixin` whose source
travels with its weights.
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
    """`h_0 = x_T at 4x4`, `h_k = S_k(h_{k-1})`, `x_hat_k = head_k(h_k)` at the sides of `submodule_sides`."""

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
            signal: `a_t` on the grid.
            sigma: `s_t` on the grid.
            width: channels of submodules at 8x8; they double with the side, up to eight times as many.
            space: facts of the states' space (`advkd.diffusion.space_of`); None means pixels.

        Raises:
            ValueError: the image has another shape, or there are too few submodules to grow to it.
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
            submodule_width = width * min(side // FINEST_FIRST, 8)
            # The first two submodules have one block, the others two. The last block doubles the side where it grows.
            blocks = [] if k < 2 else [flat_block(features, submodule_width)]
            last = growing_block if side > before else flat_block
            submodules.append(nn.Sequential(*blocks, last(submodule_width if blocks else features, submodule_width)))
            heads.append(StateHead(submodule_width, channels))
            before, features = side, submodule_width
        self.submodules = nn.ModuleList(submodules)
        self.heads = nn.ModuleList(heads)

    def coarse(self, noise: Tensor) -> Tensor:
        """Reduces unit normal noise `[B, C, S, S]`, or its box means, to unit normal noise `[B, C, 4, 4]`.

        A mean over n pixels has the variance 1 / n, so it is multiplied by sqrt(n).
        """
        return nn.functional.adaptive_avg_pool2d(noise, COARSE) * (self.sample_shape[1] / COARSE)

    def prediction(self, coarse: Tensor, submodule: int) -> Tensor:
        """Returns the state that one submodule predicts from the 4x4 input, `[B, C, side, side]`; skips other heads."""
        hidden = coarse.contiguous(memory_format=torch.channels_last)
        for part in self.submodules[: submodule + 1]:
            hidden = part(hidden)
        return self.heads[submodule](hidden)  # type: ignore[no-any-return]

    def predictions(self, noise: Tensor) -> list[Tensor]:
        """Returns the predicted states at `timesteps[1:]` for unit normal `noise`, each at its submodule's side."""
        hidden = self.coarse(noise).contiguous(memory_format=torch.channels_last)
        states = []
        for part, head in zip(self.submodules, self.heads, strict=True):
            hidden = part(hidden)
            states.append(head(hidden))
        return states

    def forward(self, noise: Tensor) -> Tensor:
        """Returns the clean state for unit normal `noise`, both `[B, C, S, S]`, in one pass; skips the inner heads."""
        return self.prediction(self.coarse(noise), len(self.sides) - 1)


class NormedBlock(nn.Module):
    """Convolution, BatchNorm and LeakyReLU: `[B, features, H, W]` to `[B, width, H, W]`, or to twice H and W."""

    def __init__(self, conv: nn.Module, width: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalises by the batch's statistics in training, by the running ones in evaluation."""
        return nn.functional.leaky_relu(self.norm(self.conv(hidden)), 0.01, inplace=True)


def flat_block(features: int, width: int) -> NormedBlock:
    """Builds a block that keeps the side."""
    return NormedBlock(nn.Conv2d(features, width, 3, padding=1), width)


def growing_block(features: int, width: int) -> NormedBlock:
    """Builds a block that doubles the side by a transposed convolution."""
    return NormedBlock(nn.ConvTranspose2d(features, width, 3, stride=2, padding=1, output_padding=1), width)


class StateHead(nn.Module):
    """Maps hidden features to a state in [-1, 1]: `[B, width, H, W]` to `[B, C, H, W]`."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.block = flat_block(width, width)
        self.conv = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns one state per sample."""
        return torch.tanh(self.conv(self.block(hidden)))


def submodule_sides(height: int, width: int, submodules: int) -> tuple[int, ...]:
    """Returns the side at which each submodule works, from 8 to the image's.

    Two submodules work at each side, as in the released code: `2^(k // 2 + 3)` for k from 0, and those left over at the
    image's. Where there are too few for that, the finer sides have one each.

    Raises:
        ValueError: the student cannot grow to this image, or has too few submodules to reach it.
    """
    if height != width or height < FINEST_FIRST or height & (height - 1):
        raise ValueError(
            f"a progressive student makes square images whose side is a power of two from {FINEST_FIRST} on, got "
            f"{height}x{width}; train a layerwise student"
        )
    doublings = height.bit_length() - FINEST_FIRST.bit_length()
    if submodules <= doublings:
        raise ValueError(
            f"a progressive student doubles its side once per submodule at most, so {height}x{width} images need "
            f"{doublings + 1} states besides the noise, got {submodules}; precompute with captures={doublings + 1} or "
            "more"
        )
    twice = min(submodules - doublings - 1, doublings)
    sides = [FINEST_FIRST << k for k in range(doublings) for _ in range(2 if k < twice else 1)]
    return tuple(sides + [height] * (submodules - len(sides)))


def usual_submodules(side: int) -> int:
    """Returns how many submodules the paper's student has for images of this side: two at each, if 7 suffice."""
    return max(4, min(2 * (side.bit_length() - FINEST_FIRST.bit_length()) + 1, 7))
