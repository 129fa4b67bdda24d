"""The closed-form mixture as a network, under each thing that a network may predict."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import UNCONDITIONAL, Pixels, preconditioned_clean
from advkd.teachers import NetworkTeacher
from advkd.teachers.mixture import MixtureTeacher
from advkd.teachers.schedulers import EDM, FLOW, arithmetic_of

VP = {"_class_name": "DDPMScheduler", "clip_sample": False}
CONFIGS: dict[str, Mapping[str, Any]] = {
    "epsilon": VP,
    "v_prediction": VP | {"prediction_type": "v_prediction"},
    "sample": VP | {"prediction_type": "sample"},
    "flow": {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    "edm": {"_class_name": "EDMEulerScheduler"},
    "edm v": {"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction", "sigma_data": 0.7},
}


class ClosedForm(NetworkTeacher):
    """A teacher whose network predicts exactly what `predicts` says, and whose scheduler says `config`."""

    def __init__(self, mixture: MixtureTeacher, predicts: str, config: Mapping[str, Any] | None = None) -> None:
        self.mixture, self.predicts = mixture, predicts
        self.scheduler = CONFIGS[predicts] if config is None else config
        self.name, self.fingerprint = "closed", "0" * 64
        self.space, self.conditions = Pixels(mixture.space.shape), UNCONDITIONAL
        self.device = torch.device("cpu")
        self.passes = 0

    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        self.passes += 1
        if arithmetic_of(self.scheduler) == EDM:
            return self._preconditioned(state, time)
        if arithmetic_of(self.scheduler) == FLOW:
            share = float(time) / 1000
            return (state - self.mixture.posterior_mean(state, 1 - share, share)) / share
        # Timestep 0 is the clean state's name.
        a, s = (level(max(1, int(time))) for level in (self.mixture.schedule.signal, self.mixture.schedule.sigma))
        clean = self.mixture.posterior_mean(state, a, s)
        noise = (state.double() - a * clean) / s
        return {"epsilon": noise, "v_prediction": a * noise - s * clean, "sample": clean}[self.predicts].to(state.dtype)

    def _preconditioned(self, seen: Tensor, time: Tensor) -> Tensor:
        """What the network must return for `preconditioned_clean`, which is linear in it, to be the posterior mean."""
        sigma = math.exp(4 * float(time))
        data = CONFIGS[self.predicts].get("sigma_data", 0.5)
        noisy = seen.double() * math.hypot(sigma, data)
        state = noisy / math.hypot(1, sigma)
        said = CONFIGS[self.predicts].get("prediction_type", "epsilon")
        nothing = preconditioned_clean(said, torch.zeros_like(state), state, sigma, data)
        slope = preconditioned_clean(said, torch.ones_like(state), state, sigma, data) - nothing
        return ((self.mixture.posterior_mean(noisy, 1.0, sigma) - nothing) / slope).to(seen.dtype)
