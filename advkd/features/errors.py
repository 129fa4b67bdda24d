"""The error of this room; its messages state rule, fact and remedy."""


class FeatureError(ValueError):
    """An extractor cannot be used as requested: its weights, its input, or what adds it is not as it must be."""
