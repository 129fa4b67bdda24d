"""The embedded digits teacher: its data, its training recipe and its weights."""

from advkd.teachers.digits.data import SHAPE, digit_images, digit_labels
from advkd.teachers.digits.train import DigitsTeacherSpec, train_digits

__all__ = [
    "SHAPE",
    "DigitsTeacherSpec",
    "digit_images",
    "digit_labels",
    "train_digits",
]
