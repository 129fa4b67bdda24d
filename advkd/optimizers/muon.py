"""Muon for convolutions: momentum whose matrix is orthogonalised before it moves the weights.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with the size of an update matched to Adam's (Liu et
al. 2025, https://arxiv.org/abs/2502.16982, Eq. 4), so that it takes Adam's learning rates. Equal shapes are stacked and
computed in float32. What is no kernel is left to Adam: biases, and the rows of embeddings, of which only those of the
batch's classes have a gradient, while orthogonalising moves all alike (`docs/recipe.md`).
Why it is ours: `torch.optim.Muon` takes matrices only, one after the other and in bfloat16; an update of our kernels
takes it six times as long on a CPU (`docs/recipe.md`).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

_BY_ADAM = "by_adam"

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MATCHED_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Updates weights of two or more axes by Muon and the others by Adam, with one learning rate.

    A group of weights with `by_adam` true is updated by Adam whatever their axes.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates every weight that has a gradient."""
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for weight in moved:
                if _is_kernel(weight, group):
                    by_shape.setdefault(weight.shape, []).append(weight)
            for weights in by_shape.values():
                self._orthogonalised(weights, group)
            self._adam([weight for weight in moved if not _is_kernel(weight, group)], group)

    def _orthogonalised(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        updates = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1.0 - group["momentum"])
            # Nesterov momentum: look one step ahead.
            updates.append(weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1))  # type: ignore[union-attr]
        turned = orthogonalised(torch.stack(updates))
        rate = group["lr"] * _MATCHED_RMS * max(turned.shape[1:]) ** 0.5
        kept = 1.0 - group["lr"] * group["weight_decay"]
        for weight, update in zip(weights, turned, strict=True):
            weight.mul_(kept)
            weight.sub_(update.view(weight.shape), alpha=rate)

    def _adam(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros((), device=weight.device)
                state |= {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        states = [self.state[weight] for weight in weights]
        adam(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def kernels_and_rows(network: nn.Module) -> list[dict[str, Any]]:
    """Returns the groups of a network's weights for `Muon`: all but the rows of embeddings, and those, if any."""
    rows = [part.weight for part in network.modules() if isinstance(part, nn.Embedding)]
    of_rows = {id(weight) for weight in rows}
    others = {"params": [weight for weight in network.parameters() if id(weight) not in of_rows]}
    return [others, {"params": rows, _BY_ADAM: True}] if rows else [others]


def _is_kernel(weight: Tensor, group: dict[str, Any]) -> bool:
    return weight.ndim >= 2 and not group.get(_BY_ADAM, False)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximates `U V^T` of each matrix `U S V^T`, `[N, rows, columns]`, by Newton-Schulz iterations."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    iterate: Tensor = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    return iterate if matrices.shape[1] <= matrices.shape[2] else iterate.mT
