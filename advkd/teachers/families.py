"""The one table of teacher families: which class of pipeline is read by whom, and the identity of its folder.

A family looks at files alone until it loads: a folder that does not fit is refused before anything is computed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from advkd.files import files_sha256
from advkd.teachers.base import Teacher, TeacherError
from advkd.teachers.folder import read_json
from advkd.teachers.unet import UNetFamily
from storage.tables import Table

INDEX = "model_index.json"


class Family(Protocol):
    """Teachers that are saved as one class of pipeline."""

    folders: tuple[str, ...]
    """The subfolders whose JSON and safetensors it reads; nothing else is ever fetched."""

    def check(self, folder: Path) -> None:
        """`TeacherError` for a folder that it cannot use."""

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """The files that decide what the teacher computes, in a fixed order."""

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """The teacher in a folder, called after the folder where `name` is None.

        Raises:
            TeacherError: it cannot be used, or was replaced while it was read.
        """


TEACHERS: Table[Family] = Table(
    "advkd.teachers", "a teacher family", {"DDPMPipeline": UNetFamily(), "DDIMPipeline": UNetFamily()}
)
"""By the class of pipeline that a folder's `model_index.json` names."""


def family_of(folder: Path) -> Family:
    """The family of a folder; `TeacherError` if it is no pipeline, or of a class that nobody reads."""
    pipeline = read_json(folder / INDEX).get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in TEACHERS:
        raise TeacherError(
            f"a teacher's pipeline must be one of {sorted(TEACHERS)}, got {pipeline!r} in {folder}; convert it or "
            "choose another teacher"
        )
    return TEACHERS[pipeline]


def check_folder(folder: Path) -> None:
    """`TeacherError` for a folder that holds no teacher of a known family."""
    family_of(folder).check(folder)


def folder_fingerprint(folder: Path) -> str:
    """sha256 over names and contents of the files that decide what the teacher computes."""
    return files_sha256(folder, family_of(folder).deciding_files(folder))


def load_folder(folder: Path, name: str | None, device: str) -> Teacher:
    """The teacher in a folder: see `Family.load`."""
    return family_of(folder).load(folder, name, device)


def is_wanted(key: str) -> bool:
    """Whether the object of a key belongs to a teacher of any family."""
    folder, _, name = key.rpartition("/")
    known = {inner for family in TEACHERS.values() for inner in family.folders}
    return key == INDEX or (folder in known and name.endswith((".json", ".safetensors")))
