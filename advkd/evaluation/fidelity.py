"""Label fidelity: the share of a student's images that a classifier reads as the class that they were asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels
from advkd.features import ReadingExtractor


@dataclass(frozen=True, kw_only=True)
class LabelFidelity:
    """Shares of images in [0, 1] that are read as their class.

    Attributes:
        student: of the student's images.
        teacher: of the target's, from the same noises and with the same labels.
        samples: number of images of each.
    """

    student: float
    teacher: float
    samples: int


def images_read(extractor: object, features: Tensor, conditions: Conditions, class_labels: Tensor | None) -> Tensor:
    """Returns, for each image, whether it is read as its class: bool `[N]`.

    Empty if images have no class labels, the extractor reads none, or it reads other classes than the teacher's.

    Args:
        extractor: extractor of the features.
        features: of images, `[N, D]`.
        conditions: of the teacher.
        class_labels: of at least N images, int64.
    """
    reader = extractor.reader if isinstance(extractor, ReadingExtractor) else None
    if reader is None or class_labels is None or not isinstance(conditions, Labels):
        return torch.zeros(0, dtype=torch.bool)
    if sorted(reader.names) != sorted(conditions.names):
        return torch.zeros(0, dtype=torch.bool)
    wanted = torch.tensor([reader.names.index(name) for name in conditions.names])
    with torch.no_grad():
        numbers = reader.logits(features.float()).argmax(1)
    return numbers == wanted[class_labels[: len(features)].cpu()]


def label_fidelity(student: Tensor, teacher: Tensor) -> LabelFidelity | None:
    """Returns the shares of `images_read` of student and teacher, None where nothing was read."""
    if not len(student):
        return None
    return LabelFidelity(
        student=student.double().mean().item(), teacher=teacher.double().mean().item(), samples=len(student)
    )
