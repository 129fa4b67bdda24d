"""The space in which a teacher's states live, and how states are decoded into images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from storage.tables import Table

if TYPE_CHECKING:
    from torch import Tensor

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
        """Plain JSON whose "kind" is a name in `SPACES`; holds everything that decides how states are decoded."""

    def decode(self, states: "Tensor") -> "Tensor":
        """Images in [-1, 1], `[B, *image_shape]`, of states `[B, *shape]` on the same device."""


@dataclass(frozen=True)
class Pixels:
    """The space of states that are images themselves."""

    shape: Shape

    @property
    def image_shape(self) -> Shape:
        """The shape of the states."""
        return self.shape

    @property
    def facts(self) -> Mapping[str, Any]:
        """The kind alone."""
        return {"kind": "pixels"}

    def decode(self, states: "Tensor") -> "Tensor":
        """The states themselves."""
        return states


class BuildSpace(Protocol):
    """A row of `SPACES`."""

    def __call__(self, facts: Mapping[str, Any], shape: Shape) -> Space:
        """Builds the space from its facts and the shape of its states; raises `ValueError` if they do not fit."""


SPACES: Table[BuildSpace] = Table("advkd.spaces", "a space of states", {"pixels": lambda facts, shape: Pixels(shape)})
"""Builders by the "kind" in the facts."""


def space_of(facts: Mapping[str, Any] | None, shape: Shape) -> Space:
    """Builds the space that a store's identity or a student's config names; no facts mean pixels.

    Raises:
        ValueError: the kind is unknown, or the facts do not fit it.
    """
    if facts is None:
        return Pixels(shape)
    return SPACES.choose(str(facts.get("kind")), "the space of states")(facts, shape)
