"""A trained student as a sampler: images from seeds, one network pass."""

import math

import torch
from torch import Tensor

from advkd.device import torch_device
from advkd.evaluation.pictures import grid_png
from advkd.students import AnyStudent
from advkd.students.loading import load_student
from storage import write_bytes
from storage.seeding import initial_noise


def sample_student(student: AnyStudent, n: int, seed: int, batch_size: int = 256) -> Tensor:
    """`n` clean images `[n, C, H, W]`, float32 on the CPU; image i depends on (seed, i) alone.

    Raises:
        ValueError: `n` is not positive.
    """
    if n < 1:
        raise ValueError(f"the number of images must be positive, got {n}; ask for at least 1")
    device = next(student.parameters()).device
    images = []
    with torch.inference_mode():
        for start in range(0, n, batch_size):
            noise = initial_noise(seed, start, min(n, start + batch_size), student.sample_shape)
            images.append(student(torch.from_numpy(noise).to(device)).float().cpu())
    return torch.cat(images)


def sample_grid(folder: str, n: int, seed: int, out: str, device: str = "cpu") -> None:
    """Samples the student in `folder` and writes a PNG of about as many rows as columns, whole or not at all."""
    student = load_student(folder).to(torch_device(device))
    images = sample_student(student, n, seed)
    write_bytes(out, grid_png(images, columns=math.ceil(math.sqrt(n))))
