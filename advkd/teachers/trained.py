"""The table of embedded teachers that were trained, each with its settings; `advkd teacher train NAME` repeats it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from advkd.teachers.digits import DIGITS_TRAINING, train_digits
from advkd.teachers.digits_classes import CLASSES_TRAINING, train_digits_classes
from advkd.teachers.training import TeacherStep, TeacherTraining
from storage.tables import Table

Trained: TypeAlias = tuple[TeacherTraining, Callable[[TeacherTraining, Path], Iterator[TeacherStep]]]

TRAINED: Table[Trained] = Table(
    "advkd.trained",
    "an embedded teacher",
    {"digits": (DIGITS_TRAINING, train_digits), "digits-classes": (CLASSES_TRAINING, train_digits_classes)},
)
