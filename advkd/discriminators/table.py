"""The one table of discriminators: what `DiscriminatorSpec.kind` may name."""

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from advkd.discriminators.projection import ProjectionDiscriminator
from storage.tables import Table

BuildDiscriminator: TypeAlias = Callable[..., nn.Module]
"""From the spec, the images' shape `[C, H, W]` and the number of submodules to a module that maps clean estimates
`[B, C, H, W]` and submodules `[B]` to logits: `[B]`, or `[B, ...]` with one for every patch.

Raises `ValueError` where the spec does not fit the shape. A module with `per_sample = True` promises one logit for
every sample, from that sample alone (no BatchNorm): both players then share one backward pass through it. Without it
each loss has a pass of its own. A row with `takes_classes = True` is also given `classes=N` where samples have class
labels, and its module `class_labels=` `[B]`; one with `takes_prompts = True` is given `pooled=P` where samples have
prompts, and its module `pooled_projections=` `[B, P]`; any other judges images alone."""

DISCRIMINATORS: Table[BuildDiscriminator] = Table(
    "advkd.discriminators", "a discriminator", {"projection": ProjectionDiscriminator}
)


def is_per_sample(discriminator: nn.Module) -> bool:
    """Whether a discriminator promises one logit for every sample, from that sample alone."""
    return getattr(discriminator, "per_sample", False) is True


def takes_classes(kind: BuildDiscriminator) -> bool:
    """Whether a row judges images together with their class labels."""
    return getattr(kind, "takes_classes", False) is True


def takes_prompts(kind: BuildDiscriminator) -> bool:
    """Whether a row judges images together with the pooled embeddings of their prompts."""
    return getattr(kind, "takes_prompts", False) is True
