"""The embedded teacher `emoji`: its data, its training recipe and its weights."""

from advkd.teachers.emoji.recipe import TRAINING, train

__all__ = ["TRAINING", "train"]
