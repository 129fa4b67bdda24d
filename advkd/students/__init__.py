"""Students: one-pass networks built from a store's time grid."""

from advkd.students.base import Student, StudentSpec
from advkd.students.layerwise import LayerwiseStudent
from advkd.students.loading import CONFIG, WEIGHTS, StudentError, load_student, student_files
from advkd.students.progressive import COARSE, ProgressiveStudent
from advkd.students.sampling import Samples, SeededSampling
from advkd.students.table import STUDENTS, AnyStudent, EstimatingStudent

__all__ = [
    "COARSE",
    "CONFIG",
    "STUDENTS",
    "WEIGHTS",
    "AnyStudent",
    "EstimatingStudent",
    "LayerwiseStudent",
    "ProgressiveStudent",
    "Samples",
    "SeededSampling",
    "Student",
    "StudentError",
    "StudentSpec",
    "load_student",
    "student_files",
]
