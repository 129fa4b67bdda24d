"""The errors of a student with class labels, class by class."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels, Space, decoded
from advkd.evaluation.pictures import Strips

CLASSES = "classes.json"


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """What a student makes of one class.

    Attributes:
        label: number of the class.
        name: its name, "" where it has none.
        samples: noises of this class on which it is compared with the teacher's trajectories.
        rmse: paired RMSE of student's and teacher's clean images on these, per pixel, in images of [-1, 1].
    """

    label: int
    name: str
    samples: int
    rmse: float


def class_scores(
    conditions: Conditions, class_labels: Tensor | None, strips: Strips, space: Space, device: str
) -> tuple[ClassScores, ...]:
    """Compares the clean images of every class that is among the samples, the worst class first.

    Args:
        conditions: the teacher's; without class labels there are no scores.
        class_labels: of at least N samples, int64 `[M]`.
        strips: student and teacher on the same N noises.
        space: of their states.
        device: where the last clean states are decoded.
    """
    if not isinstance(conditions, Labels) or class_labels is None:
        return ()
    labels = class_labels[: strips.student_clean.shape[1]].cpu()
    ours, theirs = (decoded(space, states[-1], device) for states in (strips.student_clean, strips.teacher_clean))
    squares = (ours.double() - theirs.double()).square().flatten(1).mean(1)
    scores = []
    for label in labels.unique().tolist():
        mine = squares[labels == label]
        name = conditions.names[label] if conditions.names else ""
        scores.append(ClassScores(label=label, name=name, samples=len(mine), rmse=torch.sqrt(mine.mean()).item()))
    return tuple(sorted(scores, key=lambda of_class: -of_class.rmse))


def classes_json(scores: Sequence[ClassScores]) -> str:
    """Returns the scores as JSON text, the worst class first."""
    return json.dumps([asdict(of_class) for of_class in scores], indent=1) + "\n"
