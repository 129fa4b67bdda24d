"""The pieces of the layerwise student: residual blocks that start as the identity, and heads.

Without normalisation: on a CPU GroupNorm takes half of a training step in bfloat16, and a chain whose blocks start as
the identity trains without it (`docs/recipe.md`).
"""

import torch
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """`h + conv(silu(conv(silu(h))))`, both convolutions 3x3; `[B, width, H, W]` in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = _from_zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same shape."""
        inner = self.conv1(nn.functional.silu(hidden))
        return hidden + self.conv2(nn.functional.silu(inner))  # type: ignore[no-any-return]


class DepthwiseBlock(nn.Module):
    """`h + conv1(silu(conv1(dw(h))))`: a 5x5 convolution per channel, then two 1x1 with 4 times the width between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.widen = nn.Conv2d(width, 4 * width, 1)
        self.narrow = _from_zero(nn.Conv2d(4 * width, width, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same shape."""
        return hidden + self.narrow(nn.functional.silu(self.widen(self.depthwise(hidden))))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """A `ConvBlock`'s first half, then self-attention over all positions; for coarse grids."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // 16)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = _from_zero(nn.Conv2d(2 * width, width, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, width, H, W]` to the same shape."""
        batch, width, height, columns = hidden.shape
        inner = nn.functional.silu(self.conv1(nn.functional.silu(hidden)))
        # [B, 3 width, H, W] to three of [B, heads, H W, width / heads]
        parts = self.qkv(inner).flatten(2).view(batch, 3, self.heads, width // self.heads, -1).transpose(3, 4)
        query, key, value = parts.unbind(1)
        query, key = nn.functional.normalize(query, dim=-1), nn.functional.normalize(key, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, scale=8.0)
        mixed = mixed.transpose(2, 3).reshape(batch, width, height, columns)
        return hidden + self.out(torch.cat([inner, mixed], 1))  # type: ignore[no-any-return]


BLOCKS: dict[str, type[nn.Module]] = {
    "conv": ConvBlock,
    "depthwise": DepthwiseBlock,
    "attention": AttentionBlock,
}


class CleanHead(nn.Module):
    """From hidden features to a clean-image estimate `F_k`: `[B, width, H/p, W/p]` to `[B, C, H, W]`."""

    def __init__(self, width: int, channels: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels * patch * patch, 3, padding=1)
        self.patch = patch

    def forward(self, hidden: Tensor) -> Tensor:
        """One clean image per sample."""
        return nn.functional.pixel_shuffle(self.conv(nn.functional.silu(hidden)), self.patch)


def _from_zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(torch.as_tensor(conv.bias))
    return conv
