"""Students: one-pass networks built from a store's time grid."""

from typing import TypeAlias

from advkd.students.base import Student, StudentSpec
from advkd.students.layerwise import LayerwiseStudent
from advkd.students.progressive import ProgressiveStudent
from advkd.students.sampling import Samples, SeededSampling

AnyStudent: TypeAlias = LayerwiseStudent | ProgressiveStudent
"""The students that there are; each is a `Student` and a diffusers model."""

__all__ = [
    "AnyStudent",
    "LayerwiseStudent",
    "ProgressiveStudent",
    "Samples",
    "SeededSampling",
    "Student",
    "StudentSpec",
]
