"""Draws a grid of a trained student's images."""

import math
from collections.abc import Sequence

from torch import Tensor

from advkd.device import torch_device
from advkd.diffusion import Conditions, Labels, conditions_of, decoded, drawn_condition, space_of
from advkd.evaluation import grid_png
from advkd.networks import decoder_places
from advkd.registry import student_folder
from advkd.students import load_student, student_files
from storage import write_bytes


def sample_grid(
    place: str, n: int, seed: int, out: str, device: str = "cpu", runs: str = "runs", labels: Sequence[str] = ()
) -> None:
    """Samples a student and writes a PNG of about as many rows as columns, whole or not at all.

    Image i has the noise of sample i in a store with this base seed, and its condition, if any. Labels, where they are
    given, take its place: image i has label i, and they repeat until all images have one; "all" stands for each class.

    Raises:
        StudentError: the folder holds no usable student.
        ValueError: `n` is below 1, the seed is out of range, this machine lacks the device, there is no such label, the
            student takes none, or its latents have no autoencoder beside it.
    """
    folder = student_folder(place, runs)
    student = load_student(folder).to(torch_device(device))
    conditions = conditions_of(student.config.get("conditioning"))
    condition = drawn_condition(conditions, seed, range(n)) if not labels else _labelled(conditions, labels, n)
    weights = student_files(folder).weights.parent
    space = space_of(student.config.get("space"), student.sample_shape, decoder_places(weights))
    images = decoded(space, student.sample(n, seed, **condition).images, student.device)
    write_bytes(out, grid_png(images, columns=math.ceil(math.sqrt(n))))


def _labelled(conditions: Conditions, labels: Sequence[str], count: int) -> dict[str, Tensor]:
    if not isinstance(conditions, Labels):
        kind = "noise alone" if conditions.facts is None else repr(conditions.facts.get("kind"))
        raise ValueError(f"--label is for a student with class labels, got one that takes {kind}; leave it out")
    asked = [
        number
        for label in labels
        for number in (range(conditions.classes) if label == "all" else [conditions.number(label)])
    ]
    return conditions.tensors([{"label": asked[i % len(asked)]} for i in range(count)])
