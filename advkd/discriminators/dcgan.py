"""The paper's discriminator: strided convolutions down to 4x4, where it meets the student's 4x4 noise.

After DCGAN (Radford et al. 2016, https://arxiv.org/abs/1511.06434); widths and the branch for the noise as in the
released code of Adv-KD.
"""

import torch
from torch import Tensor, nn

NORMS = ("none", "batch")
_COARSE = 4


class DcganDiscriminator(nn.Module):
    """`D(x, x_T) = linear(leaky(linear([image(x), noise(x_T)])))` for states of one side."""

    def __init__(self, channels: int, side: int, width: int = 32, norm: str = "none", *, sees_noise: bool = True):
        """Builds an untrained discriminator.

        Args:
            channels: of the states.
            side: of the states, a power of two, at least 8.
            width: channels after the first convolution; doubled at each further one, up to four times.
            norm: "none", or "batch" as released: BatchNorm mixes the samples of a batch, while a gradient penalty is
                one of every sample (Gulrajani et al. 2017, section 4).
            sees_noise: whether it is conditioned on the student's input.
        """
        super().__init__()
        self.per_sample = norm == "none"
        bias = self.per_sample
        features = width
        image: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=bias), nn.LeakyReLU(0.2)]
        while side > 2 * _COARSE:
            wider = min(2 * features, 4 * width)
            image += [nn.Conv2d(features, wider, 4, 2, 1, bias=bias), *_normed(nn.BatchNorm2d(wider), norm)]
            features, side = wider, side // 2
        self.image = nn.Sequential(*image)
        noise: list[nn.Module] = []
        judged = features * _COARSE**2
        if sees_noise:
            noise += [nn.Conv2d(channels, width, 3, 1, 1, bias=bias), *_normed(nn.BatchNorm2d(width), norm)]
            noise += [nn.Conv2d(width, 2 * width, 3, bias=bias), *_normed(nn.BatchNorm2d(2 * width), norm)]
            judged += 2 * width * (_COARSE - 2) ** 2
        self.noise = nn.Sequential(*noise)
        self.judge = nn.Sequential(
            nn.Linear(judged, 4 * width), *_normed(nn.BatchNorm1d(4 * width), norm), nn.Linear(4 * width, 1)
        )

    def forward(self, states: Tensor, noise: Tensor) -> Tensor:
        """Logits `[B]` of states `[B, C, side, side]` of the noises `[B, C, 4, 4]`."""
        seen = [self.image(states.contiguous(memory_format=torch.channels_last)).flatten(1)]
        if len(self.noise):
            seen.append(self.noise(noise).flatten(1))
        return self.judge(torch.cat(seen, 1)).squeeze(1)  # type: ignore[no-any-return]


def _normed(batch_norm: nn.Module, norm: str) -> list[nn.Module]:
    return [batch_norm, nn.LeakyReLU(0.2)] if norm == "batch" else [nn.LeakyReLU(0.2)]
