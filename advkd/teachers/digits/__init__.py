"""The embedded digits teacher: its data, its training recipe and its weights."""

from advkd.teachers.digits.data import SHAPE, digit_images, digit_labels
from advkd.teachers.digits.train import DIGITS_TRAINING, train_digits

__all__ = [
    "DIGITS_TRAINING",
    "SHAPE",
    "digit_images",
    "digit_labels",
    "train_digits",
]
