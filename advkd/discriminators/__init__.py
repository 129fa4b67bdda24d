"""Discriminators: networks that judge what a submodule predicts; no I/O."""

from advkd.discriminators.dcgan import DcganDiscriminator
from advkd.discriminators.projection import DiscriminatorSpec, ProjectionDiscriminator

__all__ = ["DcganDiscriminator", "DiscriminatorSpec", "ProjectionDiscriminator"]
