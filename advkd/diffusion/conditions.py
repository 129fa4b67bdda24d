"""What samples are conditioned on, and from which distribution each sample's condition is drawn.

A teacher says it, a store's identity holds its facts, and whoever needs the condition of sample i draws it again: it
depends on (base seed, i) alone, as the noise does (laws 1 and 10 of the store).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from torch import Tensor

from advkd.diffusion.start import Start
from storage.records import condition_generator
from storage.tables import Table

Row: TypeAlias = Mapping[str, Any]
"""One sample's condition as plain JSON: `{"label": 7}`."""


class Conditions(Protocol):
    """A kind of condition with its distribution."""

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """Plain JSON with its name in `CONDITIONS` under "kind"; None without a condition."""

    def draw(self, generator: np.random.Generator) -> Row:
        """The condition of one sample, drawn from the generator alone."""

    def tensors(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """The conditions of a batch as networks take them, each `[B, ...]`, on the CPU."""


class Unconditional:
    """No condition."""

    facts = None

    def draw(self, generator: np.random.Generator) -> Row:
        """Nothing."""
        return {}

    def tensors(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Nothing."""
        return {}


class BuildConditions(Protocol):
    """A row of `CONDITIONS`."""

    def __call__(self, facts: Mapping[str, Any]) -> Conditions:
        """The conditions whose `facts` these are; `ValueError` for others."""


CONDITIONS: Table[BuildConditions] = Table("advkd.conditions", "a kind of condition", {})
"""By the "kind" in their facts. Without facts there is no condition."""

UNCONDITIONAL = Unconditional()


def conditions_of(facts: Mapping[str, Any] | None) -> Conditions:
    """The conditions that a store's identity names; `ValueError` for an unknown kind."""
    if facts is None:
        return UNCONDITIONAL
    return CONDITIONS.choose(str(facts.get("kind")), "a store's conditioning")(facts)


def drawn_condition(conditions: Conditions, seed: int, indices: Iterable[int]) -> dict[str, Tensor]:
    """The conditions of some samples as networks take them, each `[B, ...]`; see `start_of`."""
    if conditions.facts is None:
        return {}
    return conditions.tensors([conditions.draw(condition_generator(seed, int(index))) for index in indices])


def start_of(noise: Tensor, conditions: Conditions, seed: int, indices: Iterable[int]) -> Start:
    """The start of some samples.

    Args:
        noise: theirs, `[B, C, H, W]`.
        conditions: from which theirs are drawn.
        seed: base seed of the conditions, in [0, 2**63).
        indices: their numbers, B of them.
    """
    drawn = drawn_condition(conditions, seed, indices)
    return Start(noise, {name: value.to(noise.device) for name, value in drawn.items()})
