"""Discriminators: networks that judge a submodule's clean estimate; no I/O."""

from advkd.discriminators.projection import DiscriminatorSpec, ProjectionDiscriminator

__all__ = ["DiscriminatorSpec", "ProjectionDiscriminator"]
