"""A discriminator on the features of the frozen teacher's encoder, to be compared; it needs the teacher in training.

Linear heads on the features after each level of the `digits` UNet, as in Sauer et al. 2024 (LADD,
https://arxiv.org/abs/2403.12015), at a timestep of little noise.
"""

import torch
from torch import Tensor, nn

from advkd.discriminators import DiscriminatorSpec
from advkd.teachers import load_teacher

TIMESTEP = 19


class FeatureDiscriminator(nn.Module):
    """`D(x, k) = sum over levels of psi_l(phi_l(x)) + <embedding_lk, phi_l(x)>`, `phi_l` means over positions."""

    def __init__(self, spec: DiscriminatorSpec, channels: int, submodules: int) -> None:
        super().__init__()
        # In a list, so that it is neither trained nor saved.
        self._encoder = [load_teacher("digits").network]  # type: ignore[attr-defined]
        with torch.no_grad():
            widths = [len(level[0]) for level in self._levels(torch.zeros(1, channels, 16, 16))]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, spec.width, 3, padding=1), nn.LeakyReLU(0.2)) for width in widths
        )
        self.psi = nn.Linear(spec.width * len(widths), 1)
        self.embedding = nn.Embedding(submodules, spec.width * len(widths))
        nn.init.zeros_(self.embedding.weight)

    def forward(self, images: Tensor, submodule: Tensor) -> Tensor:
        """Logits `[B]` of clean estimates `[B, C, H, W]` of the submodules `[B]`."""
        levels = self._levels(images)
        found = torch.cat([head(level).mean((2, 3)) for head, level in zip(self.heads, levels, strict=True)], 1)
        return self.psi(found).squeeze(1) + (self.embedding(submodule) * found).sum(1)  # type: ignore[no-any-return]

    def _levels(self, images: Tensor) -> list[Tensor]:
        unet = self._encoder[0]
        times = torch.full((len(images),), TIMESTEP)
        embedded = unet.time_embedding(unet.time_proj(times).to(images.dtype))
        hidden, found = unet.conv_in(images.contiguous(memory_format=torch.channels_last)), []
        for block in unet.down_blocks:
            hidden, _ = block(hidden, temb=embedded)
            found.append(hidden)
        return found
