"""Students: one-pass networks built from a store's time grid."""

from advkd.students.base import Student, StudentSpec
from advkd.students.fetching import fetched_student, is_student, is_wanted
from advkd.students.layerwise import LayerwiseStudent
from advkd.students.levels import check_division
from advkd.students.loading import (
    CONFIG,
    OBSERVATIONS,
    WEIGHTS,
    StudentError,
    StudentFiles,
    load_student,
    student_files,
)
from advkd.students.progressive import COARSE, ProgressiveStudent, submodule_sides, usual_submodules
from advkd.students.sampling import Samples, SeededSampling
from advkd.students.table import STUDENTS, AnyStudent, EstimatingStudent

__all__ = [
    "COARSE",
    "CONFIG",
    "OBSERVATIONS",
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
    "StudentFiles",
    "StudentSpec",
    "check_division",
    "fetched_student",
    "is_student",
    "is_wanted",
    "load_student",
    "student_files",
    "submodule_sides",
    "usual_submodules",
]
