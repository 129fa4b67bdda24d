"""The one table of students: what a student's config may name, and `StudentSpec.kind`."""

from typing import Any, Protocol, TypeAlias

from torch import Tensor

from advkd.students.layerwise import LayerwiseStudent
from advkd.students.progressive import ProgressiveStudent
from storage.tables import Table

AnyStudent: TypeAlias = LayerwiseStudent | ProgressiveStudent
"""Our students, for type checkers; each is a `Student` and a diffusers model, as those of other packages are."""

STUDENTS: Table[type[Any]] = Table(
    "advkd.students",
    "a class of students",
    {kind.__name__: kind for kind in (LayerwiseStudent, ProgressiveStudent)},
)
"""By class name; no other class is ever built from a config."""


class EstimatingStudent(Protocol):
    """What the layerwise method asks of a student besides `Student`: it distils and judges clean estimates.

    Its class takes the fields of `StudentSpec`, `kind` apart, beside the store's grid; where the store's conditions are
    among its `condition_kinds`, their facts as `conditioning` as well.
    """

    @property
    def output_weight(self) -> Tensor:
        """A weight of the last submodule's head, where the gradients of two losses are compared."""

    def estimates(self, noise: Tensor, **condition: Tensor) -> list[Tensor]:
        """The clean estimates of every submodule, each `[B, C, H, W]`."""

    def states(self, noise: Tensor, estimates: list[Tensor]) -> list[Tensor]:
        """The states that estimates imply, at `timesteps[1:]`."""
