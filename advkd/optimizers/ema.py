"""Exponential moving average of weights, clocked in samples (Karras et al. 2022, EDM, section F)."""

import torch
from torch import Tensor, nn


class Ema:
    """Keeps `average <- d average + (1 - d) weights`, `d = 0.5 ** (samples / half-life)`, for floats; copies the rest.

    `state_dict()` has the model's keys, so it loads into a model of the same shape.
    """

    def __init__(self, model: nn.Module) -> None:
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, samples: int, halflife: float) -> None:
        """Updates the average after a step of `samples` samples; `halflife` is in samples, 0 copies the weights."""
        decay = 0.5 ** (samples / halflife) if halflife > 0 else 0.0
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                floats[0].append(self._average[name])
                floats[1].append(value)
            else:
                self._average[name].copy_(value)
        torch._foreach_lerp_(floats[0], floats[1], 1.0 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the averages by the model's parameter names (the live tensors, not copies)."""
        return self._average

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Loads saved averages.

        Raises:
            ValueError: the names differ from the model's.
        """
        if state.keys() != self._average.keys():
            raise ValueError("an EMA state must have the model's names; this one is another model's: load its own")
        for name, value in state.items():
            self._average[name].copy_(value)
