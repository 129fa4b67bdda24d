"""Label fidelity: the share of a student's images that a classifier reads as the class that they were asked for.

An extractor may read the teacher's classes itself (`advkd.features.Reader`). In the features of any other, a classifier
is fitted to the teacher's own images and their labels (`advkd.evaluation.fitted_classifier`), which says how well
the student keeps to the classes as its teacher draws them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels
from advkd.evaluation.fitted_classifier import MIN_OF_CLASS, read_by_fitted
from advkd.features import ReadingExtractor


@dataclass(frozen=True, kw_only=True)
class LabelFidelity:
    """Shares of images in [0, 1] that are read as their class.

    Attributes:
        student: of the student's images.
        teacher: of the target's, from the same noises and with the same labels.
        samples: number of images of each.
        fitted: whether the classifier is not the extractor's own, but was fitted to images of the teacher.
    """

    student: float
    teacher: float
    samples: int
    fitted: bool


@dataclass(frozen=True)
class Readings:
    """Whether each image is read as its class.

    Attributes:
        student: of the student's images, bool `[N]`.
        teacher: of the target's, from the same noises and with the same labels, bool `[N]`.
        fitted: see `LabelFidelity`.
    """

    student: Tensor
    teacher: Tensor
    fitted: bool

    def shares(self, chosen: Tensor | None = None) -> LabelFidelity | None:
        """Returns the shares of all images, or of those that are chosen by bool `[N]`; None if there are none."""
        ours, theirs = (read if chosen is None else read[chosen] for read in (self.student, self.teacher))
        if not len(ours):
            return None
        return LabelFidelity(
            student=ours.double().mean().item(),
            teacher=theirs.double().mean().item(),
            samples=len(ours),
            fitted=self.fitted,
        )


Read = TypeVar("Read", LabelFidelity, Readings)


def best_reading(each: Iterable[Read | None]) -> Read | None:
    """Returns the first by an extractor that reads the classes itself, else the first of all; None if there is none."""
    return min((read for read in each if read is not None), key=lambda read: read.fitted, default=None)


def readings(
    extractor: object, student: Tensor, teacher: Tensor, conditions: Conditions, class_labels: Tensor | None
) -> Readings | None:
    """Reads the images of student and teacher.

    None without class labels, or where the extractor does not read them and there are too few of each class to fit a
    classifier.

    Args:
        extractor: extractor of the features.
        student: features of the student's images, `[N, D]`.
        teacher: features of the target's, from the same noises, `[N, D]`.
        conditions: of the teacher.
        class_labels: of at least N images, int64.
    """
    if class_labels is None or not isinstance(conditions, Labels):
        return None
    labels = class_labels[: len(teacher)].cpu()
    if len(own := images_read(extractor, teacher, conditions, labels)):
        return Readings(images_read(extractor, student, conditions, labels), own, fitted=False)
    counts = labels.bincount()
    if (counts >= MIN_OF_CLASS).sum() < 2 or len(labels) < MIN_OF_CLASS * (counts > 0).sum():
        return None
    ours, theirs = read_by_fitted(teacher, labels, (student, teacher))
    return Readings(ours, theirs, fitted=True)


def images_read(extractor: object, features: Tensor, conditions: Labels, class_labels: Tensor) -> Tensor:
    """Returns, for each image, whether the extractor reads it as its class: bool `[N]`.

    Empty if the extractor reads no classes, or other ones than the teacher's.

    Args:
        extractor: extractor of the features.
        features: of images, `[N, D]`.
        conditions: of the teacher.
        class_labels: of at least N images, int64.
    """
    reader = extractor.reader if isinstance(extractor, ReadingExtractor) else None
    if reader is None or sorted(reader.names) != sorted(conditions.names):
        return torch.zeros(0, dtype=torch.bool)
    wanted = torch.tensor([reader.names.index(name) for name in conditions.names])
    with torch.no_grad():
        numbers = reader.logits(features.float()).argmax(1)
    return numbers == wanted[class_labels[: len(features)].cpu()]
