"""Small real parts: a teacher with one Gaussian, a student of its schedule, a diffusers pipeline of random weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from advkd.evaluation import EvalReport, EvaluateSpec
from advkd.students import LayerwiseStudent
from advkd.teachers import SolverSpec, Teacher
from advkd.teachers.mixture import Mixture, MixtureTeacher

SHAPE = (1, 16, 16)
GRID = (999, 749, 499, 249, 0)


@dataclass(frozen=True)
class Evaluated:
    """One small evaluation that many tests look at."""

    spec: EvaluateSpec
    report: EvalReport
    folder: Path


def gaussian_teacher(dims: int = 24, shape: tuple[int, int, int] = SHAPE) -> MixtureTeacher:
    """One Gaussian of `dims` smooth directions: its trajectories are exact and cost nothing."""
    size = shape[0] * shape[1] * shape[2]
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(size, dims, generator=generator, dtype=torch.float64)).Q
    mixture = Mixture(
        weights=torch.ones(1, dtype=torch.float64),
        means=torch.zeros(1, dims, dtype=torch.float64),
        covariances=torch.diag(torch.linspace(9.0, 0.5, dims, dtype=torch.float64))[None],
        basis=basis,
        offset=torch.full((size,), -0.4, dtype=torch.float64),
    )
    return MixtureTeacher(mixture, shape, name="gaussian")


def make_student(teacher: Teacher, grid: tuple[int, ...] = GRID, width: int = 8, seed: int = 0) -> LayerwiseStudent:
    """An untrained student, with heads small enough to stay in range."""
    torch.manual_seed(seed)
    levels = teacher.grid(SolverSpec(steps=20)).at(grid)

    student = LayerwiseStudent(teacher.space.shape, grid, levels.signal, levels.sigma, width=width, blocks=1)
    # Also those that start as zeros: a test must see every weight.
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return student


def save_tiny_pipeline(folder: Path, size: int = 16) -> Path:
    """A real `DDPMPipeline` folder, untrained."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler(clip_sample=False)).save_pretrained(folder)
    return folder
