"""Students: one-pass networks built from a store's time grid."""

from advkd.students.base import Student, StudentSpec
from advkd.students.layerwise import LayerwiseStudent

__all__ = ["LayerwiseStudent", "Student", "StudentSpec"]
