"""Zero-centred gradient penalties on the discriminator: R1 at the teacher's states, R2 at the student's.

Mescheder et al. 2018 (https://arxiv.org/abs/1801.04406), section 4.1.
"""

import torch
from torch import Tensor


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """`1/2 E |grad_x D(x)|^2`, a scalar that can be differentiated again.

    R1 with the teacher's states as `inputs`, R2 with the student's (Eq. 9 and 10). `inputs` `[B, C, H, W]` must require
    a gradient and lead to `logits` `[B]`.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return 0.5 * gradient.float().square().flatten(1).sum(1).mean()
