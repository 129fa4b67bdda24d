"""Measures a method's networks: margins, statistics, spread, gradients, inputs.

Spread is measured in pixels, not in the discriminator's features, because a bound needs a constant scale. Features
change with every update, shrink if the discriminator fails, start anew if a method has a discriminator per phase, and
do not exist before the adversarial phase, when an alarm must already know whether the images varied. Pixels cannot
detect a collapse that leaves the images as far apart as before.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advkd.training.data import TrajectoryBatch
from advkd.training.methods import Comparison, Method
from advkd.training.observation import Observation, SubmoduleObservation
from advkd.training.state import TrainState

ROWS = 64
_TINY = 1e-12


@torch.no_grad()
def observe(method: Method, batch: TrajectoryBatch, rows: int = ROWS) -> Observation:
    """Observes the networks after a step on `batch`, by one pass of the student on its first `rows` rows.

    If there are several processes, each observes its own share, and all return the means over the processes. Training
    is not affected: gradients are only read, buffers and random states are restored.
    """
    state = method.state
    with _unchanged(state):
        views = method.comparisons(batch.head(rows))
        parts = [_statistics(view) for view in views.submodules]
    gradients = [gradient_norm(state.student), gradient_norm(state.discriminator).to(views.inputs.device)]
    measured = torch.cat([*parts, torch.stack([*gradients, *_mean_and_std(views.inputs)])])
    method.processes.average_([measured])
    values = measured.tolist()
    seen = len(views.inputs)
    return Observation(
        samples=state.samples,
        submodules=tuple(
            _submodule(timestep, view, values[6 * k : 6 * k + 6], seen)
            for k, (timestep, view) in enumerate(zip(method.store.timesteps[1:], views.submodules, strict=False))
        ),
        student_gradient=values[-4],
        discriminator_gradient=values[-3] if _has_gradients(state.discriminator) else None,
        input_mean=values[-2],
        input_std=values[-1],
    )


def spread(images: Tensor) -> Tensor:
    """Returns the mean Euclidean distance between images `[B, C, H, W]`, over all pairs."""
    return torch.pdist(images.float().flatten(1)).mean()


def gradient_norm(network: nn.Module) -> Tensor:
    """Returns the Euclidean norm of all gradients of a network; 0 if it has none."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    if not gradients:
        return torch.zeros((), device=next((weight.device for weight in network.parameters()), None))
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).float().norm()
    return norm


def _statistics(view: Comparison) -> Tensor:
    """Returns mean and std of the student's and the teacher's images, ratio of spreads, margin: `[6]`."""
    ratio = spread(view.fake) / spread(view.real).clamp_min(_TINY)
    margin = torch.zeros_like(ratio)
    if view.logits is not None:
        margin = view.logits(view.real).mean() - view.logits(view.fake).mean()
    return torch.stack([*_mean_and_std(view.fake), *_mean_and_std(view.real), ratio, margin])


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.float().mean(), values.float().std(correction=0)


def _submodule(timestep: int, view: Comparison, values: list[float], rows: int) -> SubmoduleObservation:
    student_mean, student_std, teacher_mean, teacher_std, ratio, margin = values
    return SubmoduleObservation(
        timestep=timestep,
        margin=None if view.logits is None else margin,
        student_mean=student_mean,
        student_std=student_std,
        teacher_mean=teacher_mean,
        teacher_std=teacher_std,
        spread=ratio if rows > 1 else None,
    )


def _has_gradients(network: nn.Module) -> bool:
    return any(weight.grad is not None for weight in network.parameters())


@contextmanager
def _unchanged(state: TrainState) -> Iterator[None]:
    """Restores what a pass in training mode changes: buffers such as a batch norm's averages, and random states."""
    buffers = [*state.student.buffers(), *state.discriminator.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    device = next(state.student.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for buffer, value in zip(buffers, kept, strict=True):
        buffer.copy_(value)
