"""Losses: free functions, no I/O."""

from advkd.losses.adversarial import ADVERSARIAL, AdversarialLoss
from advkd.losses.distillation import pseudo_huber
from advkd.losses.gradient_pulls import Pulls, pulls
from advkd.losses.penalties import gradient_penalty, interpolated, one_centred_penalty

__all__ = [
    "ADVERSARIAL",
    "AdversarialLoss",
    "Pulls",
    "gradient_penalty",
    "interpolated",
    "one_centred_penalty",
    "pseudo_huber",
    "pulls",
]
