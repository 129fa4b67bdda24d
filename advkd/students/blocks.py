"""The layers of the layerwise student: residual blocks and conditions that start as the identity, and heads.

There is no normalisation: on a CPU, GroupNorm takes half of a training step in bfloat16, and a chain whose blocks start
as the identity trains without it (`docs/recipe.md`).
"""

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """`h + conv(silu(conv(silu(h))))`, both convolutions 3x3; `[B, width, H, W]` in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(torch.as_tensor(self.conv2.bias))

    def forward(self, hidden: Tensor) -> Tensor:
        """Maps `[B, width, H, W]` to the same shape."""
        inner = self.conv1(nn.functional.silu(hidden))
        return hidden + self.conv2(nn.functional.silu(inner))  # type: ignore[no-any-return]


class Film(nn.Module):
    """`h (1 + scale(c)) + shift(c)`, of a condition's embedding c (Perez et al. 2018, https://arxiv.org/abs/1709.07871)."""

    def __init__(self, embedded: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedded, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Maps `[B, width, H, W]` to the same shape, by embeddings `[B, embedded]`."""
        scale, shift = self.linear(embedding)[:, :, None, None].chunk(2, dim=1)
        return hidden * (1 + scale) + shift  # type: ignore[no-any-return]


class Attention(nn.Module):
    """`h + out(softmax(q k^T / sqrt(d)) v)`: every position attends to tokens.

    Queries are of `[B, width, H, W]`, keys and values of tokens `[B, L, width]`, with at most four heads. It starts as
    the identity (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, Eq. 1, without normalisation).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in (4, 2, 1) if width % heads == 0)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Maps `[B, width, H, W]` to the same shape; `mask` `[B, L]` is 0 at tokens that are padding."""
        count, width, height, columns = hidden.shape
        positions = hidden.permute(0, 2, 3, 1).reshape(count, height * columns, width)
        query, key, value = (
            values.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for values in (self.query(positions), self.key(tokens), self.value(tokens))
        )
        allowed = None if mask is None else (mask > 0)[:, None, None]
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        moved = self.out(seen.transpose(1, 2).flatten(2)).reshape(count, height, columns, width)
        return hidden + moved.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class CleanHead(nn.Module):
    """Maps hidden features to a clean-image estimate `F_k`: `[B, width, H/p, W/p]` to `[B, C, H, W]`."""

    def __init__(self, width: int, channels: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels * patch * patch, 3, padding=1)
        self.patch = patch

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns one clean image per sample."""
        return nn.functional.pixel_shuffle(self.conv(nn.functional.silu(hidden)), self.patch)
