"""What a method of training is to the loop: a state, its schedules, one step, and what there is to see of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import ALONE, Processes
from advkd.training.paper_spec import PaperSpec
from advkd.training.run_spec import RunSpec
from advkd.training.spec import TrainSpec
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
        names = [one.name for one in fields(self)]
        found = torch.stack([getattr(self, name) for name in names])
        processes.average_([found])
        return dict(zip(names, found.tolist(), strict=True))


@dataclass(frozen=True)
class View:
    """What one submodule makes of a batch, beside what its teacher makes of it.

    Attributes:
        real: the teacher's images, float32 `[B, C, H, W]`: clean estimates or states, as the method compares them.
        fake: the student's of the same noises, in the same shape.
        logits: the discriminator's of such images, `[B, C, H, W]` to `[B]`, with whatever else it is shown of this
            batch already in it; None until it had its first update.
    """

    real: Tensor
    fake: Tensor
    logits: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Views:
    """What a method shows of its networks on one batch.

    Attributes:
        inputs: what the student's first layer was given, `[B, ...]`; sampling gives it a unit normal.
        submodules: from noisy to clean, as far as they are in training already; the last one is the one whose collapse
            stops a run.
    """

    inputs: Tensor
    submodules: tuple[View, ...]


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

    def views(self, batch: TrajectoryBatch) -> Views:
        """One pass of the networks as they are; called without gradients, on a few rows of a batch.

        It changes nothing and draws nothing from `state.generator`. No process waits for another in it.
        """


def build_method(spec: RunSpec, store: TrajectorySpec, processes: Processes = ALONE) -> Method:
    """The method that a spec describes, at its beginning: the weights depend on the seed alone.

    Raises:
        ValueError: the spec does not fit the store's shape, grid or sampler, or the number of processes.
    """
    from advkd.training.layerwise import LayerwiseMethod
    from advkd.training.paper import PaperMethod

    rows = processes.share(spec.batch_size)
    if (rows.stop - rows.start) % spec.accumulate:
        raise ValueError(
            f"accumulate must divide each process's share of a batch ({rows.stop - rows.start} of {spec.batch_size}), "
            f"got {spec.accumulate}; choose a divisor"
        )
    if isinstance(spec, TrainSpec):
        return LayerwiseMethod(spec, store, processes)
    if isinstance(spec, PaperSpec):
        return PaperMethod(spec, store, processes)
    raise TypeError(f"a run's spec must be a TrainSpec or a PaperSpec, got a {type(spec).__name__}; build one")


def autocast(spec: RunSpec, like: Tensor, *, enabled: bool = True) -> torch.autocast:
    """The run's precision for networks that work on tensors such as `like`."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=enabled and spec.computed_precision == "bfloat16")
