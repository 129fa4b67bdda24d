"""A grid of a trained student's images, as a picture."""

import math

from advkd.device import torch_device
from advkd.diffusion import conditions_of, drawn_condition, space_of
from advkd.evaluation import grid_png
from advkd.students import load_student
from storage import write_bytes


def sample_grid(folder: str, n: int, seed: int, out: str, device: str = "cpu") -> None:
    """Samples the student in `folder` and writes a PNG of about as many rows as columns, whole or not at all.

    Image i has the noise, and where there are any the conditions, of sample i of a store with this base seed.

    Raises:
        StudentError: no usable student.
        ValueError: `n` below 1, a seed out of range, or a device that is not there.
    """
    student = load_student(folder).to(torch_device(device))
    condition = drawn_condition(conditions_of(student.config.get("conditioning")), seed, range(n))
    space = space_of(student.config.get("space"), student.sample_shape)
    images = space.decode(student.sample(n, seed, **condition).images)
    write_bytes(out, grid_png(images, columns=math.ceil(math.sqrt(n))))
