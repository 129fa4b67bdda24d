"""The table of students: the classes that a student's config may name."""

from typing import TypeAlias

from advkd.students.layerwise import LayerwiseStudent
from advkd.students.progressive import ProgressiveStudent

AnyStudent: TypeAlias = LayerwiseStudent | ProgressiveStudent
"""Every student class; each implements `Student` and is a diffusers model."""

STUDENTS: dict[str, type[AnyStudent]] = {kind.__name__: kind for kind in (LayerwiseStudent, ProgressiveStudent)}
"""Student classes by name; a config can build no other class."""
