"""The embedded teacher `digits-classes`: its training recipe and its weights."""

from advkd.teachers.digits_classes.recipe import TRAINING, train

__all__ = ["TRAINING", "train"]
