"""Flow matching whose times are spaced and shifted as a pipeline does it for one size of images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler

_KNOWN = ("num_train_timesteps", "shift", "use_dynamic_shifting", "time_shift_type", "shift_terminal")


class _SizedFlow(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    mu: float | None = None
    even: bool = False

    def set_timesteps(self, num_inference_steps: int, **options: Any) -> None:
        steps = num_inference_steps
        sigmas = np.linspace(1.0, 1 / steps, steps) if self.even else None
        super().set_timesteps(steps, sigmas=sigmas, mu=self.mu, **options)


def sized_flow(own: Mapping[str, Any], mu: float | None, even: bool) -> FlowMatchEulerDiscreteScheduler:
    """Builds the scheduler.

    Args:
        own: the teacher's scheduler config, whole.
        mu: shift of one size of images, where the config says `use_dynamic_shifting`.
        even: whether the pipeline hands over evenly spaced times.
    """
    scheduler = _SizedFlow(**{key: own[key] for key in _KNOWN if key in own})
    scheduler.mu, scheduler.even = mu, even
    return scheduler
