"""The errors of a student with class labels or prompts, one by one."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels, Prompts, cut
from advkd.distances import collected, kernel_distance
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.fidelity import LabelFidelity, Readings

CLASSES = "classes.json"
MIN_OF_CLASS = 8
"""Images of a class from which its kernel distance is measured."""


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """What a student makes of one class or prompt.

    Attributes:
        label: number of the class or prompt.
        name: its name or text, "" where it has none.
        samples: noises of this class on which it is compared with the teacher's trajectories.
        rmse: paired RMSE of student's and teacher's clean images on these, per pixel, in images of [-1, 1].
        kd: kernel distance of student and target on all images of this class, which is unbiased for few images; None
            without an extractor, or for fewer than 8 images.
        fidelity: share of images that are read as this class, of all images of the evaluation; None where none are.
    """

    label: int
    name: str
    samples: int
    rmse: float
    kd: float | None
    fidelity: LabelFidelity | None


def class_scores(
    conditions: Conditions,
    numbers: Tensor | None,
    errors: Tensor,
    read: Readings | None = None,
    features: tuple[Tensor, Tensor] | None = None,
) -> tuple[ClassScores, ...]:
    """Compares the clean images of every class or prompt that is among the samples, the worst first.

    Args:
        conditions: the teacher's; without class labels and prompts there are no scores.
        numbers: number of the class or prompt of at least N samples, int64 `[M]`; None without conditions.
        errors: mean squared error of each of the first N images to the teacher's own, float64 `[N]`.
        read: whether each of M images of student and target is read as its class.
        features: of student and target, `[M, D]`.
    """
    if numbers is None or not isinstance(conditions, Labels | Prompts):
        return ()
    names = conditions.names if isinstance(conditions, Labels) else tuple(conditions.table.config.prompts)
    labels = numbers[: len(errors)].cpu()
    scores = []
    for label in labels.unique().tolist():
        mine = errors[labels == label]
        name = names[label] if names else ""
        rmse = torch.sqrt(mine.mean()).item()
        fidelity = None if read is None else read.shares(numbers[: len(read.student)].cpu() == label)
        kd = None if features is None else _kernel_distance(*_of_class(features, numbers, label))
        scores.append(ClassScores(label=label, name=name, samples=len(mine), rmse=rmse, kd=kd, fidelity=fidelity))
    return tuple(sorted(scores, key=lambda of_class: -of_class.rmse))


def check_classes(classes: Sequence[str], conditions: Conditions) -> None:
    """Refuses classes that no image of a teacher can have, before anything is computed.

    Raises:
        EvaluationError: the teacher has no such class or prompt, or none at all.
    """
    names = _names(conditions)
    known = {*names, *map(str, range(len(names)))}
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise EvaluationError(
            f"EvaluateSpec.classes must be classes of the teacher, by name or number, got {', '.join(unknown)}; it has "
            f"{cut(', '.join(names)) or 'none'}"
        )


def chosen_classes(scores: Sequence[ClassScores], classes: Sequence[str]) -> tuple[ClassScores, ...]:
    """Returns the scores of those classes, by name or number, that are among the images; of all, if none is named."""
    return tuple(score for score in scores if not classes or {score.name, str(score.label)} & set(classes))


def _names(conditions: Conditions) -> tuple[str, ...]:
    """Returns the names of classes or the prompts by their numbers; numbers where classes have no names."""
    if isinstance(conditions, Labels):
        return conditions.names or tuple(map(str, range(conditions.classes)))
    return tuple(conditions.table.config.prompts) if isinstance(conditions, Prompts) else ()


def _of_class(each: tuple[Tensor, Tensor], numbers: Tensor, label: int) -> tuple[Tensor, Tensor]:
    ours, theirs = (rows[numbers[: len(rows)].cpu() == label] for rows in each)
    return ours, theirs


def _kernel_distance(ours: Tensor, theirs: Tensor) -> float | None:
    if min(len(ours), len(theirs)) < MIN_OF_CLASS:
        return None
    distance = kernel_distance(collected("student", ours), collected("target", theirs))
    return None if distance is None else distance.value


def classes_json(scores: Sequence[ClassScores]) -> str:
    """Returns the scores as JSON text, the worst class first."""
    return json.dumps([asdict(of_class) for of_class in scores], indent=1) + "\n"
