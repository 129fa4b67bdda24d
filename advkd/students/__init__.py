"""Students: one-pass networks built from a store's time grid."""

from advkd.students.base import Student, StudentSpec
from advkd.students.layerwise import LayerwiseStudent
from advkd.students.sampling import Samples, SeededSampling

__all__ = ["LayerwiseStudent", "Samples", "SeededSampling", "Student", "StudentSpec"]
