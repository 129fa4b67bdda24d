"""Several resolutions inside a submodule, so that every pixel of a large image can depend on all the noise."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advkd.students.blocks import Attention, ResidualBlock

WIDEST = 4
"""A coarser level has twice the channels of the one above it, up to this many times those of the finest."""


class Level(nn.Module):
    """`h' = h + up(L(down(h)))`, then residual blocks: what is coarse is placed first, and detail follows.

    `down` halves the sides and `up` doubles them; L is the level below, which has levels of its own below it. The
    coarsest has attention before its blocks, if asked for. `up` starts at zero, so a fresh level is the identity.
    """

    def __init__(self, width: int, blocks: int, coarser: Sequence[int], attention: bool) -> None:
        """Builds a level of `width` channels above levels of `coarser` channels, from fine to coarse."""
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.coarser = Level(coarser[0], blocks, coarser[1:], attention) if coarser else None
        self.attention = Attention(width) if attention and not coarser else None
        if coarser:
            self.down = nn.Conv2d(width, coarser[0], 2, stride=2)
            self.up = nn.Conv2d(coarser[0], 4 * width, 1)
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(torch.as_tensor(self.up.bias))

    def forward(self, hidden: Tensor) -> Tensor:
        """Maps `[B, width, H, W]` to the same shape; `2^depth` divides H and W, of `depth` levels below."""
        if self.coarser is not None:
            hidden = hidden + nn.functional.pixel_shuffle(self.up(self.coarser(self.down(hidden))), 2)
        if self.attention is not None:
            hidden = self.attention(hidden, hidden.flatten(2).transpose(1, 2), None)
        return self.blocks(hidden)  # type: ignore[no-any-return]


def level_widths(width: int, levels: int) -> tuple[int, ...]:
    """Returns the channels of a submodule's levels, from fine to coarse."""
    return tuple(width * min(2**level, WIDEST) for level in range(levels))


def submodule(width: int, blocks: int, levels: int, attention: bool) -> nn.Module:
    """Builds a submodule: of one level without attention, it is its blocks alone."""
    if levels == 1 and not attention:
        return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
    return Level(width, blocks, level_widths(width, levels)[1:], attention)


def check_division(height: int, width: int, patch: int, levels: int = 1) -> None:
    """Raises `ValueError` unless every level has whole positions: `patch * 2^(levels - 1)` must divide both sides."""
    if patch < 1 or height % patch or width % patch:
        raise ValueError(
            f"patch must divide height and width, got {patch} for {height}x{width}; choose a smaller patch"
        )
    coarse = patch * 2 ** (levels - 1)
    if height % coarse or width % coarse:
        raise ValueError(
            f"a student's levels halve its grid without a rest, got {levels} levels above patches of {patch} for "
            f"{height}x{width}, which {coarse} must divide; choose fewer levels or a smaller patch"
        )
