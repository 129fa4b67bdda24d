"""What a method of training is to the loop: a state, its schedules, one step, and what there is to see of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import Processes
from advkd.training.run_spec import RunSpec
from advkd.training.state import TrainState
from storage import TrajectorySpec


@dataclass(frozen=True)
class StepLosses:
    """Scalars on the device, so that reading them is the caller's decision; zero where a phase has not begun."""

    distillation: Tensor
    adversarial: Tensor
    adversarial_scale: Tensor
    discriminator: Tensor
    real_logit: Tensor
    fake_logit: Tensor

    def values(self, processes: Processes) -> dict[str, float]:
        """As numbers, means over all processes; waits for the device."""
        names = [field.name for field in fields(self)]
        values = torch.stack([getattr(self, name) for name in names])
        processes.average_([values])
        return dict(zip(names, values.tolist(), strict=True))


@dataclass(frozen=True)
class Comparison:
    """What one submodule makes of a batch, beside what its teacher makes of it.

    Attributes:
        real: the teacher's images, float32 `[B, C, H, W]`: clean estimates or states, as the method compares them.
        fake: the student's of the same noises, in the same shape.
        logits: the discriminator's of such images, `[B, C, H, W]` to `[B]` or `[B, ...]`, with whatever else it is
            shown of this batch already in it; None until it had its first update, or where there is none.
    """

    real: Tensor
    fake: Tensor
    logits: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Comparisons:
    """What a method shows of its networks on one batch.

    Attributes:
        inputs: what the student's first layer was given, `[B, ...]`; sampling gives it a unit normal.
        submodules: from noisy to clean, as far as they are in training already; the last one is the one whose collapse
            stops a run.
    """

    inputs: Tensor
    submodules: tuple[Comparison, ...]


class Method(Protocol):
    """One way of training a student."""

    state: TrainState
    processes: Processes
    store: TrajectorySpec
    """The store's facts, for the timesteps of the run alone."""

    def phase(self) -> str:
        """What the next step does, in a word or two."""

    def step(self, batch: TrajectoryBatch) -> StepLosses:
        """One update of student and discriminator on this process's share; the clock is left to the caller."""

    def learning_rate(self) -> float:
        """The student's, for the next step."""

    def comparisons(self, batch: TrajectoryBatch) -> Comparisons:
        """One pass of the networks as they are; called without gradients, on a few rows of a batch.

        It changes nothing and draws nothing from `state.generator`. No process waits for another in it.
        """


def autocast(spec: RunSpec, like: Tensor, *, enabled: bool = True) -> torch.autocast:
    """The run's precision for networks that work on tensors such as `like`."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=enabled and spec.computed_precision == "bfloat16")
