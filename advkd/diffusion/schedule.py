"""The noise schedule, the solver's time grid and the skip that the schedule gives the student.

Pure functions of numbers: no networks, no I/O. Notation of the DDIM paper (Song et al. 2021,
https://arxiv.org/abs/2010.02502) with `a_t = sqrt(alpha_bar_t)` and `s_t = sqrt(1 - alpha_bar_t)`, so that
`x_t = a_t x_0 + s_t eps`.

Time 0 always names the *clean* state, after the solver's last step (a = 1, s = 0); every other time is a training
timestep of the teacher.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CLEAN = 0


@dataclass(frozen=True)
class NoiseSchedule:
    """`alpha_bar` for every training timestep, as a diffusers scheduler holds it (`alphas_cumprod`)."""

    alpha_bars: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.alpha_bars or not all(0.0 <= value <= 1.0 for value in self.alpha_bars):
            raise ValueError(
                f"alpha_bars must be numbers in [0, 1], got {len(self.alpha_bars)} of them; "
                "take them from the teacher's scheduler"
            )

    @property
    def train_timesteps(self) -> int:
        """Number of timesteps the teacher was trained with (1000 for DDPM)."""
        return len(self.alpha_bars)

    def signal(self, timestep: int) -> float:
        """`a_t` in [0, 1]; 1 at the clean state."""
        return math.sqrt(self._alpha_bar(timestep))

    def sigma(self, timestep: int) -> float:
        """`s_t` in [0, 1]; 0 at the clean state."""
        return math.sqrt(1.0 - self._alpha_bar(timestep))

    def _alpha_bar(self, timestep: int) -> float:
        if timestep == CLEAN:
            return 1.0
        if not 0 < timestep < self.train_timesteps:
            raise ValueError(
                f"a timestep must lie in [0, {self.train_timesteps - 1}], got {timestep}; "
                "0 is the clean state, the others are the teacher's training timesteps"
            )
        return self.alpha_bars[timestep]


def linear_schedule(train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """The linear betas of DDPM (Ho et al. 2020, section 4), in float32 like diffusers computes them."""
    betas = torch.linspace(beta_start, beta_end, train_timesteps, dtype=torch.float32)
    return NoiseSchedule(tuple(torch.cumprod(1.0 - betas, dim=0).tolist()))


def ddim_coefficients(schedule: NoiseSchedule, timestep: int, target: int) -> tuple[float, float]:
    """`(p, q)` of the deterministic DDIM step `x_target = p x_t + q x0_hat` (Eq. 12 with sigma = 0)."""
    # Eq. 12, eps eliminated through x_t = a_t x_0 + s_t eps.
    keep = schedule.sigma(target) / schedule.sigma(timestep)
    return keep, schedule.signal(target) - schedule.signal(timestep) * keep


@dataclass(frozen=True)
class SkipCoefficients:
    """`x_hat_k = skip[k] x_T + gain[k] F_k` for the K submodules of a student; `gain[k] > 0`, `skip[-1] = 0`."""

    skip: tuple[float, ...]
    gain: tuple[float, ...]


def skip_coefficients(signal: Sequence[float], sigma: Sequence[float]) -> SkipCoefficients:
    """The student's skip from `(a_t, s_t)` of a time grid `t_0 > ... > t_K = 0`, the noise first.

    With DDIM, `x_t = (s_t / s_T) x_T + sum_j c_j x0_hat_j`, all `c_j >= 0` and `sum_j c_j = a_t - a_T s_t / s_T` (by
    induction over `ddim_coefficients`), so each `F_k` is a convex combination of the teacher's clean estimates.
    """
    if len(signal) != len(sigma) or len(signal) < 2:
        raise ValueError(
            f"a time grid needs the noise and at least one more state, got {len(signal)} signal and {len(sigma)} noise "
            "levels; capture more timesteps"
        )
    skip = tuple(s / sigma[0] for s in sigma[1:])
    gain = tuple(a - signal[0] * keep for a, keep in zip(signal[1:], skip, strict=True))
    if min(gain) <= 0.0:
        raise ValueError(f"signal must grow along the time grid, got {tuple(signal)}; order it from noise to clean")
    return SkipCoefficients(skip, gain)


def implied_clean(state: Tensor, noise: Tensor, skip: float, gain: float) -> Tensor:
    """`F_k = (x_{t_k} - skip_k x_T) / gain_k`, the clean image that a state implies: `[B, C, H, W]`."""
    return (state - skip * noise) / gain
