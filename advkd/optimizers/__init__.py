"""How weights move: Muon, and the exponential average that is evaluated."""

from advkd.optimizers.ema import Ema
from advkd.optimizers.muon import Muon

__all__ = [
    "Ema",
    "Muon",
]
