"""The classes of a class-conditional network, as its folder tells them. Uses no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advkd.diffusion import LABELS, Labels
from advkd.teachers.errors import TeacherError


def class_facts(network: Mapping[str, Any], index: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """Returns the facts of a network's class labels (`advkd.diffusion.Labels`), or None if it is unconditional.

    Args:
        network: config of a `UNet2DModel`.
        index: content of model_index.json, whose `id2label`, if any, names the classes, as in DiT's pipelines.
        folder: of both, for messages.

    Raises:
        TeacherError: the network embeds no numbers of classes, or number and names of its classes do not fit.
    """
    kind, classes = network.get("class_embed_type"), network.get("num_class_embeds")
    if kind is not None:
        raise TeacherError(
            "a teacher must embed the numbers of its classes (num_class_embeds, and class_embed_type null), got "
            f"class_embed_type {kind!r} in {folder}; choose another teacher"
        )
    if classes is None:
        return None
    names = index.get("id2label")
    facts: dict[str, Any] = {"kind": LABELS, "classes": classes, "distribution": "uniform"}
    if names is not None:
        if not isinstance(names, dict) or not _numbered(names, classes):
            raise TeacherError(
                f"a teacher's id2label must name its {classes} classes by their numbers, got {str(names)[:80]!r} in "
                f"{folder}; correct model_index.json, or leave id2label out"
            )
        facts = {"kind": LABELS, "names": [names[str(k)] for k in range(classes)], "distribution": "uniform"}
    try:
        return Labels(facts).facts
    except ValueError as error:
        raise TeacherError(f"{error}: {folder}") from error


def without_null(facts: Mapping[str, Any] | None, null: int, where: str) -> dict[str, Any]:
    """Returns the facts of class labels without the last one, which stands for none.

    Args:
        facts: of all of them; None: of an unconditional network.
        null: number of the class that stands for none.
        where: of the teacher, for messages.

    Raises:
        TeacherError: it is not the last one, or there are none.
    """
    classes = 0 if facts is None else Labels(facts).classes
    if facts is None or null != classes - 1 or classes < 2:
        raise TeacherError(
            "a null class must be the last of a network's classes, "
            f"got {null} of {f'{classes} classes (0 to {classes - 1})' if facts else 'a network without classes'} in "
            f"{where}; {'name the last one if it stands for none, or none' if facts else 'leave it out'}"
        )
    fewer = {"names": facts["names"][:-1]} if "names" in facts else {"classes": classes - 1}
    return Labels({**facts, **fewer}).facts


def _numbered(names: Mapping[str, Any], classes: object) -> bool:
    return isinstance(classes, int) and set(names) == {str(k) for k in range(classes)}
