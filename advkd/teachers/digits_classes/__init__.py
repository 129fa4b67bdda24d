"""The embedded teacher `digits-classes`: its training recipe and its weights."""

from advkd.teachers.digits_classes.train import CLASSES_TRAINING, train_digits_classes

__all__ = ["CLASSES_TRAINING", "train_digits_classes"]
