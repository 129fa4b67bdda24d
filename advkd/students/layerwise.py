"""The layerwise student: one network whose k-th submodule predicts the teacher's state at the k-th timestep.

Adv-KD (https://arxiv.org/abs/2405.20675), with the skip that the noise schedule implies (`advkd.diffusion.schedule`).
A diffusers `ModelMixin`, so `save_pretrained` and `from_pretrained` (config.json and safetensors) work as users expect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from advkd.diffusion import skip_coefficients
from advkd.students.blocks import CleanHead, ResidualBlock
from advkd.students.sampling import SeededSampling


class LayerwiseStudent(SeededSampling, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """`h_0 = stem(x_T)`, `h_k = S_k(h_{k-1})`, `F_k = head_k(h_k)`, `x_hat_k = skip_k x_T + gain_k F_k`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_shape: Sequence[int],
        timesteps: Sequence[int],
        signal: Sequence[float],
        sigma: Sequence[float],
        width: int = 48,
        blocks: int | Sequence[int] = 2,
        patch: int = 2,
        space: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds an untrained student.

        Args:
            sample_shape: `[C, H, W]`.
            timesteps: time grid `t_0 > ... > t_K = 0` of the store.
            signal: `a_t` on the grid.
            sigma: `s_t` on the grid.
            width: see `StudentSpec`.
            blocks: see `StudentSpec`.
            patch: see `StudentSpec`.
            space: of the states, by its kind; None: pixels.

        Raises:
            ValueError: the image is not divisible by `patch`, the grid is not one, or `blocks` does not fit it.
        """
        super().__init__()
        channels, height, width_px = sample_shape
        if height % patch or width_px % patch:
            raise ValueError(
                f"patch must divide height and width, got {patch} for {height}x{width_px}; choose a smaller patch"
            )
        self.timesteps = tuple(timesteps)
        self.sample_shape = (channels, height, width_px)
        self.coefficients = skip_coefficients(signal, sigma)
        self.stem = nn.Conv2d(channels * patch * patch, width, 3, padding=1)
        submodules = len(self.timesteps) - 1
        depths = [blocks] * submodules if isinstance(blocks, int) else list(blocks)
        if len(depths) != submodules:
            raise ValueError(
                f"blocks must be one number, or one for each of the {submodules} submodules, got {tuple(depths)}; give "
                "as many as the grid has states besides the noise"
            )
        chains = [[ResidualBlock(width) for _ in range(depth)] for depth in depths]
        self.submodules = nn.ModuleList(nn.Sequential(*chain) for chain in chains)
        self.heads = nn.ModuleList(CleanHead(width, channels, patch) for _ in self.timesteps[1:])
        self.patch = patch

    @property
    def output_weight(self) -> Tensor:
        """Of the last submodule's head, where the gradients of two losses are compared."""
        return self.heads[-1].conv.weight  # type: ignore[union-attr, return-value]

    def estimates(self, noise: Tensor) -> list[Tensor]:
        """The clean estimates `F_1 ... F_K` of unit normal `noise`, each `[B, C, H, W]`."""
        hidden = self._stem(noise)
        found = []
        for submodule, head in zip(self.submodules, self.heads, strict=True):
            hidden = submodule(hidden)
            found.append(head(hidden))
        return found

    def states(self, noise: Tensor, estimates: Sequence[Tensor]) -> list[Tensor]:
        """The predicted states at `timesteps[1:]`, from noisy to clean."""
        pairs = zip(self.coefficients.skip, self.coefficients.gain, estimates, strict=True)
        return [skip * noise + gain * estimate for skip, gain, estimate in pairs]

    def predictions(self, noise: Tensor) -> list[Tensor]:
        """The predicted states at `timesteps[1:]` of unit normal `noise`, each `[B, C, H, W]`."""
        return self.states(noise, self.estimates(noise))

    def forward(self, noise: Tensor) -> Tensor:
        """The clean state of unit normal `noise`, both `[B, C, H, W]`, in one pass; inner heads are skipped."""
        hidden = self._stem(noise)
        for submodule in self.submodules:
            hidden = submodule(hidden)
        return self.heads[-1](hidden)  # type: ignore[no-any-return]

    def _stem(self, noise: Tensor) -> Tensor:
        patches = nn.functional.pixel_unshuffle(noise, self.patch)
        return self.stem(patches.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]
