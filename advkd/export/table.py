"""The one table of exports: what a trained student can be written as, for others to run."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from advkd.export.artifact import export_diffusers
from advkd.files import publish, workplace
from advkd.students import fetched_student
from storage.tables import Table

Exporter: TypeAlias = Callable[[Path, Path], Path]
"""From a student's folder and where to write to what was written: a file or a folder, whole or not there."""

EXPORTS: Table[Exporter] = Table("advkd.exports", "a format of exports", {"diffusers": export_diffusers})


def export_student(student: str, out: str, format: str = "diffusers") -> str:
    """Writes a student in a format of the table, and returns where to.

    Args:
        student: folder or URI of a student.
        out: folder or URI; in an object store it is published whole.
        format: name of the row.

    Raises:
        ValueError: no such format, or credentials in a URI.
        StudentError: no usable student.
        StoreError: the object store did not give the student or take the export.
        OSError: it cannot be written.
    """
    export = EXPORTS.choose(format, "an export's format")
    folder = Path(fetched_student(student))
    with workplace(out) as place:
        export(folder, place)
        publish(place, out)
    return out
