"""Projection discriminators at full and at half resolution, whose logits are added.

Wang et al. 2018 (pix2pixHD, https://arxiv.org/abs/1711.11585), section 3.2.
"""

from dataclasses import replace

from torch import Tensor, nn

from advkd.discriminators.projection import DiscriminatorSpec, ProjectionDiscriminator


class MultiscaleDiscriminator(nn.Module):
    """`D(x, k) = D_1(x, k) + D_2(half of x, k)`; the coarse one sees pixels where the fine one sees patches."""

    def __init__(self, spec: DiscriminatorSpec, channels: int, submodules: int) -> None:
        super().__init__()
        coarse = replace(spec, patch=max(1, spec.patch // 2))
        self.fine = ProjectionDiscriminator(spec, channels, submodules)
        self.coarse = ProjectionDiscriminator(coarse, channels, submodules)

    def forward(self, images: Tensor, submodule: Tensor) -> Tensor:
        """Logits `[B]` of clean estimates `[B, C, H, W]` of the submodules `[B]` (int64, 0 to K - 1)."""
        half = nn.functional.avg_pool2d(images, 2)
        return self.fine(images, submodule) + self.coarse(half, submodule)  # type: ignore[no-any-return]
