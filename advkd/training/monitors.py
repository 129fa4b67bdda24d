"""Measures what a method shows of its networks: margins, statistics, spread, gradients, inputs.

Spread is measured in pixels, not in the discriminator's features. A bound needs a ruler that stays as it is: features
change with every update, shrink where the discriminator fails, start anew where a method has one per phase, and are
missing before the game, when "it was varied once" has to be found out. What pixels cannot see is a collapse that leaves
the images as far apart as they were.
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
    """What is seen of the networks after a step on `batch`: one pass of the student on its first `rows` rows.

    Of several processes each looks at its own share, and the values are the means over them, the same in all. Nothing
    of the training changes: gradients are read and kept, buffers and random states are put back.
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
    """Mean Euclidean distance between two of `[B, C, H, W]` images, over all pairs."""
    return torch.pdist(images.float().flatten(1)).mean()


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network; 0 where it has none."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    if not gradients:
        return torch.zeros((), device=next((weight.device for weight in network.parameters()), None))
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).float().norm()
    return norm


def _statistics(view: Comparison) -> Tensor:
    """Mean and std of the student's images and of the teacher's, ratio of spreads, margin: `[6]`."""
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
    """Puts back what a pass in training mode moves: buffers such as a batch norm's averages, and the random states."""
    buffers = [*state.student.buffers(), *state.discriminator.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    device = next(state.student.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for buffer, value in zip(buffers, kept, strict=True):
        buffer.copy_(value)
