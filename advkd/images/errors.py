"""The error of this room; its messages state rule, fact and remedy."""


class ImageSetError(ValueError):
    """A set of real images cannot be used as asked."""
