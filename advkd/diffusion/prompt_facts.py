"""The facts of prompts as conditions: what a student is built from, and what a store's identity holds of them.

It travels with a registered student (`advkd.export.bundle`), so it uses numpy and torch alone.
"""

from collections.abc import Mapping
from typing import Any

PROMPTS = "prompts"
TOKENS = "encoder_hidden_states"
"""A prompt's tokens as diffusers' networks take them, `[L, D]`."""
POOLED = "pooled_projections"
"""The whole prompt as one vector, `[P]`."""
MASK = "encoder_attention_mask"
"""1 for a prompt's tokens and 0 for padding, `[L]`; of encoders whose padding counts, there is none."""


def prompt_shapes(facts: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each embedding of one prompt, by these names.

    Raises:
        ValueError: the facts are of another kind, or do not say the shapes.
    """
    tensors = facts.get("tensors")
    dimensions = {TOKENS: 2, POOLED: 1, MASK: 1}
    fitting = (
        isinstance(tensors, Mapping)
        and {TOKENS, POOLED} <= set(tensors) <= set(dimensions)
        and all(
            isinstance(shape, list | tuple)
            and len(shape) == dimensions[name]
            and all(isinstance(side, int) and side > 0 for side in shape)
            for name, shape in tensors.items()
        )
    )
    if facts.get("kind") != PROMPTS or not isinstance(tensors, Mapping) or not fitting:
        raise ValueError(
            f'prompts must be described by "kind": "{PROMPTS}" and "tensors" with the shapes of {TOKENS} [L, D] and '
            f"{POOLED} [P], got {str(dict(facts))[:200]}; precompute the store again"
        )
    return {name: tuple(shape) for name, shape in tensors.items()}
