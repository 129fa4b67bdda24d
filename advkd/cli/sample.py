"""A grid of a trained student's images, as a picture."""

import math

from advkd.device import torch_device
from advkd.evaluation import grid_png
from advkd.students import load_student
from storage import write_bytes


def sample_grid(folder: str, n: int, seed: int, out: str, device: str = "cpu") -> None:
    """Samples the student in `folder` and writes a PNG of about as many rows as columns, whole or not at all.

    Raises:
        StudentError: no usable student.
        ValueError: `n` below 1, a seed out of range, or a device that is not there.
    """
    student = load_student(folder).to(torch_device(device))
    write_bytes(out, grid_png(student.sample(n, seed).images, columns=math.ceil(math.sqrt(n))))
