"""Discriminators: networks that judge what a submodule predicts; no I/O."""

from collections.abc import Callable

from torch import nn

from advkd.discriminators.dcgan import NORMS, DcganDiscriminator
from advkd.discriminators.projection import DiscriminatorSpec, ProjectionDiscriminator

DISCRIMINATORS: dict[str, Callable[[DiscriminatorSpec, int, int], nn.Module]] = {
    "projection": ProjectionDiscriminator,
}
"""What `DiscriminatorSpec.kind` may name: built from the spec, the images' channels and the number of submodules, they
map clean estimates `[B, C, H, W]` and submodules `[B]` to logits `[B]`."""

__all__ = [
    "DISCRIMINATORS",
    "NORMS",
    "DcganDiscriminator",
    "DiscriminatorSpec",
    "ProjectionDiscriminator",
]
