"""Draws a grid of a trained student's images."""

import math

from advkd.device import torch_device
from advkd.diffusion import conditions_of, decoded, drawn_condition, space_of
from advkd.evaluation import grid_png
from advkd.networks import decoder_places
from advkd.registry import student_folder
from advkd.students import load_student, student_files
from storage import write_bytes


def sample_grid(place: str, n: int, seed: int, out: str, device: str = "cpu", runs: str = "runs") -> None:
    """Samples a student and writes a PNG of about as many rows as columns, whole or not at all.

    Image i has the noise and the condition, if any, of sample i in a store with this base seed.

    Raises:
        StudentError: the folder holds no usable student.
        ValueError: `n` is below 1, the seed is out of range, this machine lacks the device, or the student's latents
            have no autoencoder beside it.
    """
    folder = student_folder(place, runs)
    student = load_student(folder).to(torch_device(device))
    condition = drawn_condition(conditions_of(student.config.get("conditioning")), seed, range(n))
    weights = student_files(folder).weights.parent
    space = space_of(student.config.get("space"), student.sample_shape, decoder_places(weights))
    images = decoded(space, student.sample(n, seed, **condition).images, student.device)
    write_bytes(out, grid_png(images, columns=math.ceil(math.sqrt(n))))
