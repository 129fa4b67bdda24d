"""The space in which a teacher's states live, and how states are decoded into images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from advkd.networks import AutoencoderSpace
from storage.tables import Table

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
_AT_ONCE = 64


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


@runtime_checkable
class FoundSpace(Protocol):
    """A space that decodes by files of its own, which have to be found first."""

    def found(self, places: Sequence[str]) -> Space:
        """Returns the space with its files from the first of these folders that holds them; raises `ValueError`."""


class BuildSpace(Protocol):
    """A row of `SPACES`."""

    def __call__(self, facts: Mapping[str, Any], shape: Shape) -> Space:
        """Builds the space from its facts and the shape of its states; raises `ValueError` if they do not fit."""


SPACES: Table[BuildSpace] = Table(
    "advkd.spaces",
    "a space of states",
    {"pixels": lambda facts, shape: Pixels(shape), "autoencoder": AutoencoderSpace},
)
"""Builders by the "kind" in the facts."""


def space_of(facts: Mapping[str, Any] | None, shape: Shape, places: Sequence[str] | None = None) -> Space:
    """Builds the space that a store's identity or a student's config names; no facts mean pixels.

    Args:
        facts: see `Space.facts`.
        shape: `[C, H, W]` of a state.
        places: folders where a space that has files looks for them, in this order; None: it is not going to decode.

    Raises:
        ValueError: the kind is unknown, the facts do not fit it, or its files are in none of the places.
    """
    if facts is None:
        return Pixels(shape)
    space = SPACES.choose(str(facts.get("kind")), "the space of states")(facts, shape)
    return space.found(places) if places is not None and isinstance(space, FoundSpace) else space


def decoded(space: Space, states: "Tensor", device: Any = "cpu") -> "Tensor":
    """Decodes states `[B, *shape]` of any device on the one given: images `[B, *image_shape]`, float32 on the CPU.

    States and images pass through the device in parts, so that its memory does not bound B.
    """
    if isinstance(space, Pixels):
        return states.float().cpu()
    import torch

    with torch.no_grad():
        return torch.cat([space.decode(part.to(device)).float().cpu() for part in states.split(_AT_ONCE)])
