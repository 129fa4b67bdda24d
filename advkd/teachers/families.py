"""The table of teacher families: each reads folders of one class of pipeline.

Until it loads a teacher, a family only looks at files, so a folder that does not fit is refused before any computation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from advkd.files import files_sha256
from advkd.teachers.base import Teacher
from advkd.teachers.checkpoints import INDEX, no_pipeline
from advkd.teachers.dit import DiTFamily
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json
from advkd.teachers.ldm import LDMFamily
from advkd.teachers.sizes import Size, require_sized
from advkd.teachers.stable_diffusion import STABLE_DIFFUSION
from advkd.teachers.text_flow import FLUX, SANA, STABLE_DIFFUSION_3
from advkd.teachers.unet import UNetFamily
from storage.tables import Table


class Family(Protocol):
    """All teachers that are saved as one class of pipeline."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Parts of the pipeline whose JSON and safetensors files the family reads; no others are fetched.

        Each is a subfolder; where it has none, the part lies at the root.
        """

    def check(self, folder: Path) -> None:
        """Raises `TeacherError` if the family cannot use the folder.

        Called once before weights are fetched, with JSON alone: what is wrong then must be a `WeightsError` if it is
        only that weights are missing, as `weights_of` raises.
        """

    def deciding_files(self, folder: Path) -> Sequence[Path]:
        """Returns the files that decide what the teacher computes, in a fixed order."""

    def load(self, folder: Path, name: str | None, device: str) -> Teacher:
        """Loads the teacher in a folder; if `name` is None, it is named after the folder.

        Raises:
            TeacherError: the teacher cannot be used, or was replaced while it was read.
        """


TEACHERS: Table[Family] = Table(
    "advkd.teachers",
    "a teacher family",
    {
        "DDPMPipeline": UNetFamily(),
        "DDIMPipeline": UNetFamily(),
        "LDMPipeline": LDMFamily(),
        "DiTPipeline": DiTFamily(),
        **{family.pipeline: family for family in (STABLE_DIFFUSION, STABLE_DIFFUSION_3, FLUX, SANA)},
    },
)
"""Families by the class of pipeline that a folder's `model_index.json` names."""


def family_of(folder: Path) -> Family:
    """Returns the family of a folder; raises `TeacherError` if it is no pipeline or of an unknown class."""
    if not (folder / INDEX).is_file():
        raise no_pipeline(folder)
    pipeline = read_json(folder / INDEX).get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in TEACHERS:
        raise TeacherError(
            f"a teacher's pipeline must be one of {sorted(TEACHERS)}, got {pipeline!r} in {folder}; convert it or "
            "choose another teacher"
        )
    return TEACHERS[pipeline]


def check_folder(folder: Path) -> None:
    """Raises `TeacherError` if the folder holds no teacher of a known family."""
    family_of(folder).check(folder)


def deciding_files(folder: Path) -> Sequence[Path]:
    """Returns the files that decide what the teacher computes; see `Family.deciding_files`."""
    return family_of(folder).deciding_files(folder)


def folder_fingerprint(folder: Path) -> str:
    """Returns the sha256 over names and contents of the files that decide what the teacher computes."""
    return files_sha256(folder, deciding_files(folder))


def takes_prompts(folder: Path) -> bool:
    """Returns whether the teacher in a folder must be told prompts."""
    return getattr(family_of(folder), "takes_prompts", False) is True


def load_folder(folder: Path, name: str | None, device: str, size: Size | None = None) -> Teacher:
    """Loads the teacher in a folder; see `Family.load` and, with a size, `SizedFamily.load_sized`."""
    family = family_of(folder)
    if size is None:
        return family.load(folder, name, device)
    return require_sized(family, folder).load_sized(folder, name, device, size)
