"""Conditions of samples, and the distributions from which they are drawn.

A teacher names its conditions, and a store's identity holds their facts. The condition of sample i is not stored but
drawn again where it is needed: it depends on (base seed, i) alone, as the noise does (laws 1 and 10 of the store).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from advkd.diffusion.labels import LABELS, Labels
from advkd.diffusion.prompt_facts import PROMPTS
from advkd.diffusion.prompts import Prompts
from advkd.diffusion.start import Start
from storage.records import condition_generator
from storage.tables import Table

if TYPE_CHECKING:
    from torch import Tensor

Row: TypeAlias = Mapping[str, Any]
"""One sample's condition as plain JSON: `{"label": 7}`."""


class Conditions(Protocol):
    """A kind of condition and its distribution."""

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """Plain JSON whose "kind" is a name in `CONDITIONS`; None if samples are unconditional."""

    def draw(self, generator: np.random.Generator) -> Row:
        """Draws the condition of one sample from the generator alone."""

    def tensors(self, rows: Sequence[Row]) -> "dict[str, Tensor]":
        """The conditions of a batch, each `[B, ...]`, on the CPU: what networks take, or see `EmbeddedConditions`."""


@runtime_checkable
class EmbeddedConditions(Protocol):
    """Conditions whose tensors are small, such as numbers of prompts, until networks take them."""

    def embedded(self, condition: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """What networks take of a batch, each `[B, ...]` on the batch's device, of what `Conditions.tensors` gave."""


class Unconditional:
    """The conditions of an unconditional teacher."""

    facts = None

    def draw(self, generator: np.random.Generator) -> Row:
        """Returns an empty row."""
        return {}

    def tensors(self, rows: Sequence[Row]) -> "dict[str, Tensor]":
        """Nothing."""
        return {}


class BuildConditions(Protocol):
    """A row of `CONDITIONS`."""

    def __call__(self, facts: Mapping[str, Any]) -> Conditions:
        """Builds the conditions from their `facts`; raises `ValueError` if the facts do not fit."""


CONDITIONS: Table[BuildConditions] = Table(
    "advkd.conditions", "a kind of condition", {LABELS: Labels, PROMPTS: Prompts}
)
"""Builders by the "kind" in the facts. No facts mean no condition."""

UNCONDITIONAL = Unconditional()


def conditions_of(facts: Mapping[str, Any] | None) -> Conditions:
    """Builds the conditions that a store's identity names; raises `ValueError` for an unknown kind."""
    if facts is None:
        return UNCONDITIONAL
    return CONDITIONS.choose(str(facts.get("kind")), "a store's conditioning")(facts)


def embedded(conditions: Conditions, condition: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
    """The condition of a batch as networks take it; see `EmbeddedConditions`."""
    return conditions.embedded(condition) if isinstance(conditions, EmbeddedConditions) else condition


def drawn_condition(conditions: Conditions, seed: int, indices: Iterable[int]) -> "dict[str, Tensor]":
    """The conditions of some samples, each `[B, ...]`; see `start_of` and `embedded`."""
    if conditions.facts is None:
        return {}
    return conditions.tensors([conditions.draw(condition_generator(seed, int(index))) for index in indices])


def start_of(noise: "Tensor", conditions: Conditions, seed: int, indices: Iterable[int]) -> Start:
    """The start of some samples.

    Args:
        noise: noise of the samples, `[B, C, H, W]`.
        conditions: kind and distribution from which conditions are drawn.
        seed: base seed of the conditions, in [0, 2**63).
        indices: numbers of the B samples.
    """
    drawn = drawn_condition(conditions, seed, indices)
    return Start(noise, {name: value.to(noise.device) for name, value in drawn.items()})
