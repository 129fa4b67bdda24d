"""The one table of students: what a student's config may name."""

from typing import TypeAlias

from advkd.students.layerwise import LayerwiseStudent
from advkd.students.progressive import ProgressiveStudent

AnyStudent: TypeAlias = LayerwiseStudent | ProgressiveStudent
"""The students that there are; each is a `Student` and a diffusers model."""

STUDENTS: dict[str, type[AnyStudent]] = {kind.__name__: kind for kind in (LayerwiseStudent, ProgressiveStudent)}
"""By class name; no other class is ever built from a config."""
