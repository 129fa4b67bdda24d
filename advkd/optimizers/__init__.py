"""The optimizer Muon, and the exponential moving average of weights that is evaluated."""

from advkd.optimizers.ema import Ema
from advkd.optimizers.muon import Muon, kernels_and_rows

__all__ = [
    "Ema",
    "Muon",
    "kernels_and_rows",
]
