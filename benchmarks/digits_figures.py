"""Figures of a student of the digits, also against real ones."""

from pathlib import Path
from statistics import fmean

import torch

from advkd.device.threads import torch_threads
from advkd.distances import frechet_distance
from advkd.evaluation.measured import measured_distances
from advkd.evaluation.reference import references_for
from advkd.evaluation.student_images import student_images
from advkd.features import digits_extractor
from advkd.images import real_features
from advkd.networks import multiply_adds, parameters
from advkd.students.loading import load_student
from advkd.teachers import load_teacher


def evaluate(out: Path, root: str, samples: int, seeds: list[int], name: str = "digits") -> dict[str, float]:
    """Distances of a student to the teacher of that name and to real digits, means over evaluation seeds."""
    student, teacher = load_student(out), load_teacher(name)
    extractor = digits_extractor()
    real = real_features("digits", extractor, teacher.space.image_shape, root)
    figures: list[dict[str, float]] = []
    with torch_threads(1):
        for seed in seeds:
            (reference,) = references_for(teacher, [extractor], root=root, seed=seed, samples=samples)
            images = student_images(
                student, teacher, [extractor], seed=seed, samples=samples, device="cpu", progress=lambda *_: None
            )
            measured = measured_distances(extractor, reference, teacher, images.sets[0], images.numbers, None)
            scores = measured.to_teacher
            assert scores.recall is not None
            assert scores.precision is not None
            assert measured.worth_ddim is not None
            figures.append(
                {
                    "worth": measured.worth.passes,
                    "worth_ddim": measured.worth_ddim.passes,
                    "fd": scores.fd.value,
                    "recall": scores.recall.value,
                    "precision": scores.precision.value,
                    "fd_real": frechet_distance(images.sets[0], real),
                }
            )
    means = {name: fmean(each[name] for each in figures) for name in figures[0]}
    with torch.no_grad():
        macs = multiply_adds(lambda: student(torch.zeros(1, *student.sample_shape)))
    return {**means, "params": parameters(student), "macs": macs}
