"""The one table of exports: what a trained student can be written as, for others to run."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from advkd.export.artifact import export_diffusers
from storage.tables import Table

Exporter: TypeAlias = Callable[[Path, Path], Path]
"""From a student's folder and where to write to what was written: a file or a folder, whole or not there."""

EXPORTS: Table[Exporter] = Table("advkd.exports", "a format of exports", {"diffusers": export_diffusers})


def export_student(student: str | Path, out: str | Path, format: str = "diffusers") -> Path:
    """Writes a student in a format of the table, and returns what was written.

    Raises:
        ValueError: no such format.
        StudentError: no usable student.
        OSError: it cannot be written.
    """
    return EXPORTS.choose(format, "an export's format")(Path(student), Path(out))
