"""States of a teacher with a stated share of noise, as its own schedule has them, and what its network sees of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.diffusion import NoiseSchedule, preconditioned_input
from advkd.teachers.network import NetworkTeacher
from advkd.teachers.schedulers import EDM, FLOW, arithmetic_of, full_config, own_scheduler


@dataclass(frozen=True, kw_only=True)
class NoisedStates:
    """States `a_t x_0 + s_t eps`, all of one level.

    Attributes:
        state: the states, `[B, C, H, W]`.
        seen: what the network takes of them, `[B, C, H, W]`.
        time: what the network is told, a scalar.
        signal: `a_t`.
        sigma: `s_t`.
    """

    state: Tensor
    seen: Tensor
    time: Tensor
    signal: float
    sigma: float

    @property
    def ratio(self) -> float:
        """`s_t / a_t`."""
        return self.sigma / self.signal


def noised_states(teacher: NetworkTeacher, clean: Tensor, noise: Tensor, ratio: float) -> NoisedStates:
    """Adds noise to clean states, at the level of the teacher's schedule whose `s_t / a_t` is nearest to a ratio.

    Args:
        teacher: whose schedule it is; flow matching and EDM have every level.
        clean: `x_0`, `[B, C, H, W]`.
        noise: `eps`, `[B, C, H, W]` or `[1, C, H, W]`.
        ratio: wanted `s_t / a_t`, positive.
    """
    arithmetic, config = arithmetic_of(teacher.scheduler), full_config(teacher.scheduler)
    if arithmetic == FLOW:
        # Lipman et al. 2022 (https://arxiv.org/abs/2210.02747): x_t = (1 - t) x_0 + t eps.
        sigma = ratio / (1.0 + ratio)
        time = torch.tensor(sigma * config["num_train_timesteps"])
        state = (1.0 - sigma) * clean + sigma * noise
        return NoisedStates(state=state, seen=state, time=time, signal=1.0 - sigma, sigma=sigma)
    if arithmetic == EDM:
        # Karras et al. 2022, https://arxiv.org/abs/2206.00364, Table 1: c_noise.
        time, scale = torch.tensor(0.25 * math.log(ratio)), math.hypot(1.0, ratio)
        state = (clean + ratio * noise) / scale
        seen = preconditioned_input(state, ratio, float(config["sigma_data"]))
        return NoisedStates(state=state, seen=seen, time=time, signal=1.0 / scale, sigma=ratio / scale)
    schedule = NoiseSchedule(tuple(own_scheduler(teacher.scheduler).alphas_cumprod.tolist()))
    levels = {t: schedule.sigma(t) / max(schedule.signal(t), 1e-6) for t in range(1, schedule.train_timesteps)}
    near = min(levels, key=lambda t: abs(levels[t] - ratio))
    signal, sigma = schedule.signal(near), schedule.sigma(near)
    state = signal * clean + sigma * noise
    return NoisedStates(state=state, seen=state, time=torch.tensor(near), signal=signal, sigma=sigma)
