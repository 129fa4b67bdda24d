"""The space in which a teacher's states live, and the way from there to images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from storage.tables import Table

Shape = tuple[int, int, int]


class Space(Protocol):
    """A space of states."""

    @property
    def shape(self) -> Shape:
        """`[C, H, W]` of a state."""

    @property
    def image_shape(self) -> Shape:
        """`[C, H, W]` of an image."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain JSON with its name in `SPACES` under "kind": whatever decides how states are decoded."""

    def decode(self, states: Tensor) -> Tensor:
        """Images in [-1, 1], `[B, *image_shape]`, of states `[B, *shape]` on the same device."""


@dataclass(frozen=True)
class Pixels:
    """States that are images already."""

    shape: Shape

    @property
    def image_shape(self) -> Shape:
        """That of the states."""
        return self.shape

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing but the name."""
        return {"kind": "pixels"}

    def decode(self, states: Tensor) -> Tensor:
        """The states themselves."""
        return states


class BuildSpace(Protocol):
    """A row of `SPACES`."""

    def __call__(self, facts: Mapping[str, Any], shape: Shape) -> Space:
        """The space with these facts and states of that shape; `ValueError` for others."""


SPACES: Table[BuildSpace] = Table("advkd.spaces", "a space of states", {"pixels": lambda facts, shape: Pixels(shape)})
"""By the "kind" in their facts."""


def space_of(facts: Mapping[str, Any] | None, shape: Shape) -> Space:
    """The space that a store's identity or a student's config names, pixels if it names none.

    Raises:
        ValueError: an unknown kind, or facts that do not fit it.
    """
    if facts is None:
        return Pixels(shape)
    return SPACES.choose(str(facts.get("kind")), "the space of states")(facts, shape)
