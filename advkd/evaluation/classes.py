"""The errors of a student with class labels or prompts, one by one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from advkd.diffusion import Conditions, Labels, Prompts, Space, decoded
from advkd.evaluation.fidelity import LabelFidelity, label_fidelity
from advkd.evaluation.pictures import Strips

CLASSES = "classes.json"


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """What a student makes of one class or prompt.

    Attributes:
        label: number of the class or prompt.
        name: its name or text, "" where it has none.
        samples: noises of this class on which it is compared with the teacher's trajectories.
        rmse: paired RMSE of student's and teacher's clean images on these, per pixel, in images of [-1, 1].
        fidelity: share of images that are read as this class, of all images of the evaluation; None where none are.
    """

    label: int
    name: str
    samples: int
    rmse: float
    fidelity: LabelFidelity | None


def class_scores(
    conditions: Conditions,
    condition: Mapping[str, Tensor],
    strips: Strips,
    space: Space,
    device: str,
    read: tuple[Tensor, Tensor] | None = None,
) -> tuple[ClassScores, ...]:
    """Compares the clean images of every class or prompt that is among the samples, the worst first.

    Args:
        conditions: the teacher's; without class labels and prompts there are no scores.
        condition: of at least N samples: `class_labels` or `prompt`, int64 `[M]`.
        strips: student and teacher on the same N noises.
        space: of their states.
        device: where the last clean states are decoded.
        read: whether each image of student and teacher is read as its class, bool `[M]` (`images_read`).
    """
    if isinstance(conditions, Labels):
        numbers, names = condition["class_labels"], conditions.names
    elif isinstance(conditions, Prompts):
        numbers, names = condition["prompt"], tuple(conditions.table.config.prompts)
    else:
        return ()
    labels = numbers[: strips.student_clean.shape[1]].cpu()
    ours, theirs = (decoded(space, states[-1], device) for states in (strips.student_clean, strips.teacher_clean))
    squares = (ours.double() - theirs.double()).square().flatten(1).mean(1)
    scores = []
    for label in labels.unique().tolist():
        mine = squares[labels == label]
        name = names[label] if names else ""
        rmse = torch.sqrt(mine.mean()).item()
        fidelity = None if read is None else label_fidelity(*(images[numbers.cpu() == label] for images in read))
        scores.append(ClassScores(label=label, name=name, samples=len(mine), rmse=rmse, fidelity=fidelity))
    return tuple(sorted(scores, key=lambda of_class: -of_class.rmse))


def classes_json(scores: Sequence[ClassScores]) -> str:
    """Returns the scores as JSON text, the worst class first."""
    return json.dumps([asdict(of_class) for of_class in scores], indent=1) + "\n"
