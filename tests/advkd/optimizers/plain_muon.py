"""Muon and its Adam written a second time, for tests: one weight after the other, by singular values, in float64.

Newton-Schulz iterations are odd polynomials of a matrix, so they move its singular values alone: a singular value
decomposition and five polynomials of numbers give what the optimizer computes by matrix products.
"""

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor


def polynomial(value: Tensor) -> Tensor:
    """One iteration on singular values (Jordan et al. 2024)."""
    return 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5


def turned(matrix: Tensor) -> Tensor:
    """Five iterations on a matrix that is first divided by its Frobenius norm."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / (values.square().sum().sqrt() + 1e-7)
    for _ in range(5):
        values = polynomial(values)
    return left @ torch.diag(values) @ right


class PlainMuon:
    """What Muon does to named float64 weights, which it moves in place."""

    def __init__(self, weights: Mapping[str, Tensor], weight_decay: float = 0.0, rows: Collection[str] = ()) -> None:
        self.weights = dict(weights)
        self.weight_decay = weight_decay
        self.momentum: dict[str, Tensor] = {}
        self.adam = PlainAdam({n: w for n, w in self.weights.items() if w.ndim < 2 or n in rows}, betas=(0.9, 0.99))

    def step(self, gradients: Mapping[str, Tensor | None], lr: float) -> None:
        """One update of every weight that has a gradient."""
        for name, gradient in gradients.items():
            if gradient is None or name in self.adam.weights:
                continue
            before = self.momentum.get(name, torch.zeros_like(gradient))
            self.momentum[name] = 0.95 * before + 0.05 * gradient
            looked_ahead = 0.05 * gradient + 0.95 * self.momentum[name]
            rows = len(gradient)
            update = turned(looked_ahead.reshape(rows, -1))
            size = 0.2 * math.sqrt(max(rows, gradient.numel() // rows))
            weight = self.weights[name]
            weight.copy_(weight - lr * self.weight_decay * weight - lr * size * update.reshape(weight.shape))
        self.adam.step({name: gradients[name] for name in self.adam.weights}, lr)


class PlainAdam:
    """Adam (Kingma & Ba 2015, algorithm 1) of named float64 weights, which it moves in place."""

    def __init__(self, weights: Mapping[str, Tensor], betas: tuple[float, float]) -> None:
        self.weights = dict(weights)
        self.betas = betas
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}
        self.count: dict[str, int] = {}

    def step(self, gradients: Mapping[str, Tensor | None], lr: float) -> None:
        """One update of every weight that has a gradient."""
        slow, slower = self.betas
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            self.count[name] = count = self.count.get(name, 0) + 1
            zero = torch.zeros_like(gradient)
            self.first[name] = slow * self.first.get(name, zero) + (1 - slow) * gradient
            self.second[name] = slower * self.second.get(name, zero) + (1 - slower) * gradient**2
            mean = self.first[name] / (1 - slow**count)
            spread = (self.second[name] / (1 - slower**count)).sqrt()
            self.weights[name].sub_(lr * mean / (spread + 1e-8))
