"""Class labels as conditions: one of N classes for each sample, all equally likely.

The class travels with a registered student (`advkd.export.bundle`), so it uses numpy and, for tensors, torch alone.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

LABELS = "labels"
_SHOWN = 12


class Labels:
    """Conditions `{"label": k}`, k in [0, N).

    Attributes:
        facts: plain JSON, `{"kind": "labels", "names": [...], "distribution": "uniform"}`, or `"classes": N` instead of
            names.
        names: of the classes, in their order; empty where they have none.
        classes: N, at least 1.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        """Checks the facts.

        Raises:
            ValueError: the facts are of another kind or distribution, or give no classes.
        """
        names, classes = facts.get("names"), facts.get("classes")
        known = {"kind", "distribution", "classes" if names is None else "names"}
        if facts.get("kind") != LABELS or set(facts) != known or facts["distribution"] != "uniform":
            raise ValueError(
                f'class labels must be described by "kind": "{LABELS}", "distribution": "uniform" and either "names" '
                f'or "classes", got {dict(facts)!r}; write these three'
            )
        if names is not None:
            listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
            classes = len(names) if listed else None
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
            raise ValueError(
                "class labels must have at least one class, as a list of names or as a whole number, got "
                f"{(names if names is not None else facts.get('classes'))!r}; give one name for each class, or their "
                "number"
            )
        self.names = tuple(names or ())
        self.classes = classes
        named = {"classes": classes} if names is None else {"names": list(names)}
        self.facts: dict[str, Any] = {"kind": LABELS, **named, "distribution": "uniform"}

    @property
    def known(self) -> str:
        """Returns the classes as messages name them: the first ones, and how far numbers go."""
        if not self.names:
            return f"0 to {self.classes - 1}"
        shown = ", ".join(f"{k} {name!r}" for k, name in enumerate(self.names[:_SHOWN]))
        return shown if self.classes <= _SHOWN else f"{shown} ... up to {self.classes - 1}"

    def draw(self, generator: np.random.Generator) -> dict[str, int]:
        """Draws a label from the generator alone."""
        return {"label": int(generator.integers(self.classes))}

    def tensors(self, rows: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Returns the labels of B rows as networks take them: `class_labels`, int64 `[B]`."""
        import torch

        return {"class_labels": torch.tensor([row["label"] for row in rows], dtype=torch.int64)}

    def number(self, label: int | str) -> int:
        """Returns the number of a class, given as its number, its name or, of a name with commas, a part of it.

        Raises:
            ValueError: there is no such class, or several have the name.
        """
        if isinstance(label, str):
            named = [k for k, name in enumerate(self.names) if name == label]
            named = named or [k for k, name in enumerate(self.names) if label in map(str.strip, name.split(","))]
            if len(named) > 1:
                raise ValueError(f"a name must be that of one class, got {label!r} of {named}; give the number")
            if named:
                return named[0]
        number = int(label) if not isinstance(label, str) or label.isdecimal() else -1
        if not 0 <= number < self.classes:
            raise ValueError(f"a label must be one of {self.known}, got {label!r}; choose one of them")
        return number
