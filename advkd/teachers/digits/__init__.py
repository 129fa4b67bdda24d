"""The embedded digits teacher: its data, its training recipe and its weights."""

from advkd.teachers.digits.data import SHAPE, digit_images, digit_labels
from advkd.teachers.digits.recipe import TRAINING, train

__all__ = ["SHAPE", "TRAINING", "digit_images", "digit_labels", "train"]
