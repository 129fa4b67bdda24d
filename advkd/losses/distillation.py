"""Pointwise distillation: the pseudo-Huber distance between the student's states and the teacher's."""

import math

from torch import Tensor


def pseudo_huber(difference: Tensor) -> Tensor:
    """`sqrt(|d|^2 + c^2) - c` per sample, `[B, C, H, W]` to `[B]`, scaled by `1 / sqrt(D)`, D = C H W.

    c = 0.00054 sqrt(D) as in Song & Dhariwal 2023 (https://arxiv.org/abs/2310.14189), section 3.3; the scale makes the
    value an error per pixel, in the units of the states.
    """
    flat = difference.float().flatten(1)
    scale = math.sqrt(flat.shape[1])
    c = 0.00054 * scale
    # Section 3.3: d(x, y) = sqrt(|x - y|^2 + c^2) - c
    return ((flat.square().sum(1) + c * c).sqrt() - c) / scale
