"""What class labels a student may be given."""

import torch
from torch import Tensor

from advkd.diffusion import Labels


def check_labels(labels: Labels | None, class_labels: Tensor | None, count: int) -> None:
    """Checks what a student is given for `count` images besides noise.

    Values on a GPU are not read: a pass would wait for them; nor are those of a pass that is traced, which has none.
    Whoever takes labels from people checks them before.

    Raises:
        ValueError: labels are missing, superfluous, not one for each image, or, on the CPU, out of range.
    """
    if labels is None:
        if class_labels is not None:
            raise ValueError("an unconditional student takes noise alone, got class_labels; leave them out")
        return
    if class_labels is None:
        raise ValueError(
            f"a student with class labels needs one for each image, got none; give class_labels, of {labels.known}"
        )
    if class_labels.shape != (count,):
        raise ValueError(
            f"class_labels must be one for each of the {count} images, got {list(class_labels.shape)}; give [{count}]"
        )
    if class_labels.device.type == "cpu" and not torch.compiler.is_exporting():
        wrong = class_labels[(class_labels < 0) | (class_labels >= labels.classes)].tolist()
        if wrong:
            raise ValueError(f"a label must be one of {labels.known}, got {wrong[0]}; choose one of them")
