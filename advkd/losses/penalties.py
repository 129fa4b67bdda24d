"""Gradient penalties on the discriminator: zero-centred (R1, R2), and one-centred between real and fake (WGAN-GP).

Mescheder et al. 2018 (https://arxiv.org/abs/1801.04406), section 4.1; Gulrajani et al. 2017
(https://arxiv.org/abs/1704.00028), section 4.
"""

import torch
from torch import Tensor


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """`1/2 E |grad_x D(x)|^2`, a scalar that can be differentiated again; of patches, D(x) is their mean.

    R1 with the teacher's states as `inputs`, R2 with the student's (Mescheder, Eq. 9 and 10). `inputs` `[B, C, H, W]`
    must require a gradient and lead to `logits` `[B]` or `[B, ...]`.
    """
    (gradient,) = torch.autograd.grad(_per_sample(logits).sum(), inputs, create_graph=True)
    return 0.5 * gradient.float().square().flatten(1).sum(1).mean()


def one_centred_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """Returns `E (|grad_x D(x)| - 1)^2` (Gulrajani, Eq. 3, without its weight), a scalar to differentiate again.

    `inputs` `[B, C, H, W]`, as `interpolated` gives them, must require a gradient and lead to `logits` `[B]` or
    `[B, ...]`.
    """
    (gradient,) = torch.autograd.grad(_per_sample(logits).sum(), inputs, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
    return (norms - 1.0).square().mean()


def interpolated(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Mixes `share real + (1 - share) fake` (Gulrajani, section 4): `[B, C, H, W]`, a leaf that requires a gradient.

    `share` `[B]` in [0, 1] says how much of each sample is real.
    """
    weight = share.view(-1, *[1] * (real.dim() - 1))
    return (weight * real + (1.0 - weight) * fake).detach().requires_grad_()


def _per_sample(logits: Tensor) -> Tensor:
    return logits if logits.dim() == 1 else logits.flatten(1).mean(1)
