"""Discriminators: networks that judge what a submodule predicts; no I/O."""

from advkd.discriminators.dcgan import NORMS, DcganDiscriminator
from advkd.discriminators.projection import DiscriminatorSpec, ProjectionDiscriminator
from advkd.discriminators.table import DISCRIMINATORS, is_per_sample, takes_classes, takes_prompts

__all__ = [
    "DISCRIMINATORS",
    "NORMS",
    "DcganDiscriminator",
    "DiscriminatorSpec",
    "ProjectionDiscriminator",
    "is_per_sample",
    "takes_classes",
    "takes_prompts",
]
