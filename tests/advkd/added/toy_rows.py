"""What a package of somebody else adds: a row of every table, in one file. Tests install it beside this project."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from advkd.diffusion import skip_coefficients
from advkd.export import ExportSpec, Format
from advkd.features import Asked, FeatureExtractor
from advkd.losses import AdversarialLoss
from advkd.optimizers import Ema
from advkd.students import SeededSampling, load_student
from advkd.training import MethodRow, RunSpec
from advkd.training.distributed import ALONE
from advkd.training.methods import Comparison, Comparisons, StepLosses
from advkd.training.state import TrainState

ROW_SHA256 = "f" * 64


def row_means(asked: Asked) -> FeatureExtractor:
    return FeatureExtractor("toy-rows", ROW_SHA256, 16, lambda images: images.mean((1, 3)))


least_squares = AdversarialLoss(
    lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
    lambda real, fake: (fake - 1).square().mean(),
)


class PatchDiscriminator(nn.Module):
    """A logit for every patch, with BatchNorm; the submodule's number is a plane of its own."""

    def __init__(self, spec, shape, submodules):
        super().__init__()
        self.submodules = submodules
        self.body = nn.Sequential(
            nn.Conv2d(shape[0] + 1, spec.width, 4, 2, 1),
            nn.BatchNorm2d(spec.width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(spec.width, 1, 4, 2, 1),
        )

    def forward(self, images, submodule):
        plane = (submodule / self.submodules).view(-1, 1, 1, 1).expand(-1, 1, *images.shape[-2:])
        return self.body(torch.cat([images, plane], 1)).squeeze(1)


class ToyStudent(SeededSampling, ModelMixin, ConfigMixin):
    """One convolution, whatever the timestep."""

    @register_to_config
    def __init__(self, sample_shape: Any, timesteps: Any, signal: Any, sigma: Any) -> None:
        super().__init__()
        self.timesteps, self.sample_shape = tuple(timesteps), tuple(sample_shape)
        self.coefficients = skip_coefficients(signal, sigma)
        self.conv = nn.Conv2d(self.sample_shape[0], self.sample_shape[0], 3, padding=1)

    def predictions(self, noise):
        return [self(noise) for _ in self.timesteps[1:]]

    def forward(self, noise):
        return self.conv(noise)


@dataclass(frozen=True, kw_only=True)
class ToyPart:
    rate: float = 0.05


@dataclass(frozen=True, kw_only=True)
class ToySpec(RunSpec):
    method: Literal["toy"] = "toy"
    optimizer: ToyPart = ToyPart()


class ToyMethod:
    """Least squares to the clean state, without a discriminator."""

    def __init__(self, spec, store, processes=ALONE):
        self.spec, self.store, self.processes = spec, store, processes
        torch.manual_seed(spec.seed)
        grid = {name: list(getattr(store, name)) for name in ("sample_shape", "timesteps", "signal", "sigma")}
        student = self.student(grid)
        self.state = TrainState(
            student=student,
            discriminator=nn.Module(),
            student_optimizer=torch.optim.SGD(student.parameters(), lr=spec.optimizer.rate),
            discriminator_optimizer=None,
            ema=Ema(student),
            generator=torch.Generator().manual_seed(spec.seed),
        )

    def student(self, grid):
        return ToyStudent(**grid)

    def clean(self, batch):
        return self.state.student(batch.noise)

    def phase(self):
        return "toy"

    def learning_rate(self):
        return self.spec.optimizer.rate

    def step(self, batch):
        self.state.student_optimizer.zero_grad(set_to_none=True)
        loss = (self.clean(batch) - batch.states[-1]).square().mean()
        loss.backward()
        self.processes.average_gradients(self.state.student)
        self.state.student_optimizer.step()
        nothing = torch.zeros(())
        return StepLosses(loss.detach(), nothing, nothing, nothing, nothing, nothing)

    def comparisons(self, batch):
        clean = self.clean(batch)
        views = tuple(Comparison(state, clean, None) for state in batch.states)
        return Comparisons(inputs=batch.noise, submodules=views)


toy = MethodRow(ToySpec, ToyMethod)


def write_facts(student: Path, out: Path, spec: ExportSpec) -> Path:
    """The student's shape and number of weights, as JSON."""
    model = load_student(student)
    out.write_text(json.dumps({"shape": model.sample_shape, "weights": sum(w.numel() for w in model.parameters())}))
    return out


facts_file = Format(write=write_facts)
"""An export."""
