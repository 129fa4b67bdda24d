"""What a student's images are measured by, batch by batch: no more of them are held than are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advkd.diffusion import decoded
from advkd.distances import Accumulator, FeatureSet
from advkd.evaluation.reference import PICTURES
from advkd.evaluation.student_states import BATCH, student_states
from advkd.evaluation.teacher_states import evaluation_part
from advkd.features import Extractor, state_features
from advkd.students import AnyStudent
from advkd.teachers import Teacher


@dataclass(frozen=True, kw_only=True)
class StudentImages:
    """A student's images from the evaluation's noises.

    Attributes:
        sets: their features, a set per extractor.
        pictures: the first ones, `[P, C, H, W]` in [-1, 1].
        numbers: number of each image's class or prompt, int64 `[N]`; None without conditions.
    """

    sets: tuple[FeatureSet, ...]
    pictures: Tensor
    numbers: Tensor | None


def student_images(
    student: AnyStudent,
    teacher: Teacher,
    extractors: Sequence[Extractor],
    *,
    seed: int,
    samples: int,
    device: str,
    progress: Callable[[int, int], None],
) -> StudentImages:
    """Computes a student's images, and keeps their features.

    Args:
        student: on `device`.
        teacher: its teacher, whose space and conditions they have.
        extractors: of the features.
        seed: base seed of the noises.
        samples: number of noises.
        device: where images are computed and decoded.
        progress: `progress(done images, all images)`.

    Raises:
        EvaluationError: a state holds NaN or infinity.
    """
    gathered, pictures, numbers = [Accumulator(one.dims) for one in extractors], [], []
    for first in range(0, samples, BATCH):
        rows = range(first, min(samples, first + BATCH))
        start = evaluation_part(teacher, seed, rows)
        states = student_states(student, start, device, teacher.conditions)
        for accumulator, extractor in zip(gathered, extractors, strict=True):
            accumulator.add(state_features(extractor, teacher.space, states, device))
        if first < PICTURES:
            pictures.append(decoded(teacher.space, states[: PICTURES - first], device).float())
        for name in ("class_labels", "prompt"):
            if name in start.condition:
                numbers.append(start.condition[name].cpu())
        progress(rows.stop, samples)
    return StudentImages(
        sets=tuple(_rounded(accumulator.finished("student")) for accumulator in gathered),
        pictures=torch.cat(pictures),
        numbers=torch.cat(numbers) if numbers else None,
    )


def _rounded(features: FeatureSet) -> FeatureSet:
    """Rounds what is kept as the teacher's features are rounded in their files."""
    assert features.features is not None
    return replace(features, features=features.features.half().float())
