"""Sources of teachers: an embedded name, a folder, an object store's prefix with such a folder, or a hub id."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from advkd.files import FolderKind, download_folder, files_sha256, is_remote, refuse_credentials
from advkd.teachers.errors import TeacherChangedError, TeacherError
from advkd.teachers.families import check_folder, family_of, folder_fingerprint
from advkd.teachers.hub import hub_folder
from advkd.teachers.needed import needed_files
from advkd.teachers.weights import PICKLE, SAFETENSORS

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class HubId:
    """A repository of the hub and its revision: a branch, a tag or a commit; None means the main branch."""

    repository: str
    revision: str | None


def hub_id(place: str) -> HubId | None:
    """Parses a place as a hub id; returns None if it is none, or if a folder of that name exists."""
    repository, marker, revision = place.partition("@")
    looks_local = Path(place).is_absolute() or place.startswith((".", "~")) or Path(place).is_dir()
    if is_remote(place) or looks_local or not _HUB_ID.fullmatch(repository) or bool(marker) != bool(revision):
        return None
    return HubId(repository, revision or None)


def teacher_name(place: str) -> str:
    """Returns the name of the teacher at a place, before it becomes a slug: the folder's or the repository's."""
    hub = hub_id(place)
    return hub.repository if hub else place.rstrip("/").rpartition("/")[2]


def resolve_source(place: str, fingerprint: str | None = None) -> Path:
    """Returns the local folder of a teacher: the folder itself, or a copy (JSON and safetensors only) of a remote one.

    Raises:
        TeacherError: the place is no folder, no URI and no hub id that can be fetched, or holds no supported teacher.
        StoreError: the object store could not deliver the teacher.
        ValueError: the URI holds credentials.
    """
    return _resolve(_FOLDERS, SAFETENSORS, place, fingerprint)


def resolve_pickled(place: str) -> Path:
    """Returns the local folder of a teacher with pickled weights, to be converted; see `resolve_source`."""
    return _resolve(_PICKLED, PICKLE, place)


def _resolve(kind: FolderKind, ending: str, place: str, fingerprint: str | None = None) -> Path:
    if is_remote(place):
        refuse_credentials(place)
        return download_folder(kind, place, fingerprint)
    if (folder := Path(place).expanduser()).is_dir():
        return folder
    hub = hub_id(place)
    if hub is None:
        raise TeacherError(
            f"a teacher must be an embedded name, a folder, a URI or a hub id, got {place!r}, which is none of them; "
            "check the spelling or the path"
        )
    return hub_folder(hub.repository, hub.revision, ending)


def _needed_pickles(folder: Path, names: Collection[str]) -> list[str]:
    return needed_files(folder, names, PICKLE)


def _all_files_sha256(folder: Path) -> str:
    return files_sha256(folder, sorted(path for path in folder.rglob("*") if path.is_file()))


_FOLDERS = FolderKind(
    name="teachers",
    noun="a teacher",
    needed=needed_files,
    check=check_folder,
    fingerprint=folder_fingerprint,
    error=TeacherError,
    changed=TeacherChangedError,
)

_PICKLED = FolderKind(
    name="pickled-teachers",
    noun="a teacher",
    needed=_needed_pickles,
    check=family_of,
    fingerprint=_all_files_sha256,
    error=TeacherError,
    changed=TeacherChangedError,
)
