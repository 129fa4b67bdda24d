"""The training loop of embedded teachers: AdamW, a cosine, averaged weights, and checkpoints from which it resumes.

A generator of step metrics, like the student's loop. The same seed gives the same weights on the same machine, also
after an interruption.
"""

import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from advkd.device import torch_threads
from advkd.optimizers import Ema

Loss: TypeAlias = Callable[[torch.Generator], Tensor]
"""Draws a batch from the generator, and returns its loss."""

_WARM_UP = 500


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """How a network of an embedded teacher is trained.

    Attributes:
        images: training images seen, the clock of the run.
        batch_size: images per step.
        learning_rate: peak of the cosine after a linear warm-up of 500 steps.
        ema_halflife: half-life, in images, of the moving average of the weights.
        seed: seed of weights, order, timesteps and noise.
        threads: CPU threads of torch; sums depend on their number, so another number gives other weights.
        checkpoint_every: images between two checkpoints.
    """

    images: int = 720_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    ema_halflife: float = 40_000.0
    seed: int = 0
    threads: int = 1
    checkpoint_every: int = 50_000

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.images < self.batch_size:
            raise ValueError(
                f"images must be at least batch_size, which must be positive, got {self.images} and {self.batch_size}; "
                "train on at least one batch"
            )
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every must be positive, got {self.checkpoint_every}; use 50000")


@dataclass(frozen=True)
class TeacherStep:
    """Metrics of one training step.

    Attributes:
        part: the network that is trained.
        images: images that it has seen.
        of: images that it will have seen at the end.
        loss: its loss on the step's images.
    """

    part: str
    images: int
    of: int
    loss: float


def train_network(
    part: str, network: nn.Module, loss: Loss, spec: TeacherTraining, out: Path
) -> Generator[TeacherStep, None, dict[str, Tensor]]:
    """Trains a network, yields the metrics of every step, and returns the averaged weights by name.

    Args:
        part: name of the network.
        network: on the CPU, with its first weights.
        loss: of the network on a batch.
        spec: how it is trained.
        out: folder of the pipeline; beside it lies the checkpoint from which it resumes (`checkpoint_of`).

    Raises:
        ValueError: the checkpoint is of another network or another training.
    """
    generator, checkpoint = torch.Generator().manual_seed(spec.seed), checkpoint_of(out, part)
    average = Ema(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=spec.learning_rate, weight_decay=0.01, fused=True)
    progress = _Progress(network, average, optimizer, generator, spec)
    steps = spec.images // spec.batch_size
    with torch_threads(spec.threads):
        for step in range(progress.load(checkpoint), steps):
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate * _warm_cosine(step, steps)
            error = loss(generator)
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            images = (step + 1) * spec.batch_size
            average.update(network, spec.batch_size, min(spec.ema_halflife, images / 20))
            if images // spec.checkpoint_every > (images - spec.batch_size) // spec.checkpoint_every:
                progress.save(checkpoint, step + 1)
            yield TeacherStep(part, images, steps * spec.batch_size, error.item())
    return average.state_dict()


def checkpoint_of(out: Path, part: str) -> Path:
    """Returns the file of a part's checkpoint while a pipeline for the folder `out` is trained: beside that folder."""
    return out.with_name(f".{out.name}.{part}.safetensors")


def averaged_so_far(out: Path, part: str) -> dict[str, Tensor]:
    """Returns the averaged weights by name in the checkpoint of an unfinished training.

    Raises:
        ValueError: there is no checkpoint.
    """
    checkpoint = checkpoint_of(out, part)
    if not checkpoint.is_file():
        raise ValueError(
            f"an unfinished training must have a checkpoint beside its folder, got none at {checkpoint}; name the "
            "folder that was given to `advkd teacher train`, and wait for the first one"
        )
    return _part(load_file(checkpoint), "average")


class _Progress:
    """All that a training needs to go on, as safetensors."""

    def __init__(
        self,
        network: nn.Module,
        average: Ema,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        spec: TeacherTraining,
    ) -> None:
        self._network, self._average, self._optimizer, self._generator = network, average, optimizer, generator
        self._spec = repr(spec)

    def save(self, file: Path, step: int) -> None:
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self._average.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        tensors["generator"] = self._generator.get_state()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        copies = {name: value.clone().contiguous() for name, value in tensors.items()}
        save_file(copies, partial, {"step": str(step), "spec": self._spec})
        partial.replace(file)

    def load(self, file: Path) -> int:
        """Returns the number of steps that are done, 0 without a checkpoint."""
        if not file.exists():
            return 0
        tensors, noted = load_file(file), _metadata(file)
        if noted.get("spec") != self._spec:
            raise ValueError(
                f"a teacher's training must go on as it began, got {self._spec} for {noted.get('spec')} in {file}; "
                "give the same settings, or remove that file to start again"
            )
        self._network.load_state_dict(_part(tensors, "network"))
        self._average.load_state_dict(_part(tensors, "average"))
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer").items():
            number, moment = name.split(".", 1)
            state.setdefault(int(number), {})[moment] = _laid_out(value, parameters[int(number)])
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": state})
        self._generator.set_state(tensors["generator"])
        return int(noted["step"])


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """Returns a moment in its parameter's memory format: fused AdamW goes through both in the order of their memory."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return dict(opened.metadata() or {})


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def _warm_cosine(step: int, steps: int) -> float:
    rise = min(1.0, (step + 1) / min(_WARM_UP, steps))
    return rise * 0.5 * (1.0 + math.cos(math.pi * step / steps))
