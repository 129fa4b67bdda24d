"""Schedulers of states `x_0 + sigma eps`: Heun's for EDM's networks, and all of them seen with unit variance.

Karras et al. 2022 (https://arxiv.org/abs/2206.00364). diffusers has Euler and DPM-Solver++ for their preconditioned
networks, but no Heun.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import EDMEulerScheduler
from torch import Tensor

from advkd.teachers.schedulers import Scheduler


@dataclass(frozen=True)
class Step:
    """What a step returns, as diffusers names it."""

    prev_sample: Tensor


class EDMHeunScheduler(EDMEulerScheduler):  # type: ignore[misc]
    """Heun's method for EDM's networks: Algorithm 1 of the paper without churn; the last step, to 0, is Euler's.

    Two passes in each step but the last. As in diffusers' Heun, `sigmas[i]` is the level of the state before pass i.
    """

    order = 2
    sigmas: Tensor
    timesteps: Tensor

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Sets the levels of so many steps."""
        super().set_timesteps(num_inference_steps, device)
        levels, times = self.sigmas, self.timesteps
        self.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
        self.timesteps = torch.cat([times[:1], times[1:].repeat_interleave(2)])
        self._first: tuple[Tensor, Tensor] | None = None

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, return_dict: bool = True) -> Step:
        """Returns the state that Euler's step leads to, and after the next pass its correction."""
        if self.step_index is None:
            self._init_step_index(timestep)
        index = self.step_index
        level, following = self.sigmas[index], self.sigmas[index + 1]
        slope = (sample - self.precondition_outputs(sample, model_output, level)) / level
        self._step_index += 1
        if self._first is None:
            self._first = (sample, slope)
            return Step(sample + (following - level) * slope)
        # The first pass was at the level before; this one is where its step led to.
        (start, before), self._first = self._first, None
        return Step(start + (level - self.sigmas[index - 1]) * (before + slope) / 2)


class UnitVariance:
    """A scheduler of states `x_0 + sigma eps`, with states divided by `sqrt(1 + sigma^2)` outside (docs/method.md 2).

    Attributes:
        inner: the scheduler; `sigmas[i]` is the level before pass i.
    """

    def __init__(self, inner: Scheduler) -> None:
        self.inner = inner
        self._passed = 0

    @property
    def config(self) -> Any:
        """Of the scheduler inside."""
        return self.inner.config

    @property
    def order(self) -> int:
        """Passes in a step."""
        return int(self.inner.order)

    @property
    def timesteps(self) -> Tensor:
        """What the network is told, pass by pass."""
        return self.inner.timesteps  # type: ignore[no-any-return]

    @property
    def sigmas(self) -> Tensor:
        """Levels before each pass, and after the last."""
        return self.inner.sigmas  # type: ignore[no-any-return]

    @property
    def alphas_cumprod(self) -> Tensor:
        """Of a scheduler with training timesteps."""
        return self.inner.alphas_cumprod  # type: ignore[no-any-return]

    def set_timesteps(self, steps: int) -> None:
        """Sets the levels of so many steps."""
        self.inner.set_timesteps(steps)
        self._passed = 0

    def scale_model_input(self, state: Tensor, time: Tensor) -> Tensor:
        """Returns what the network sees of a state."""
        return self.inner.scale_model_input(state * self._scale(0), time)  # type: ignore[no-any-return]

    def step(self, predicted: Tensor, time: Tensor, state: Tensor, return_dict: bool = True) -> Step:
        """Returns the state after one more pass."""
        moved = self.inner.step(predicted, time, state * self._scale(0)).prev_sample
        scale = self._scale(1)
        self._passed += 1
        return Step(moved / scale)

    def _scale(self, ahead: int) -> Tensor:
        return (self.inner.sigmas[self._passed + ahead] ** 2 + 1) ** 0.5  # type: ignore[no-any-return]
