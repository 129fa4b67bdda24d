"""Where a student is: a folder, the same below an object store's prefix, or a registered version.

`models:/NAME@ALIAS` and `models:/NAME/VERSION` are MLflow's own addresses. What is fetched is a config and safetensors;
the code of an artifact is neither fetched nor run.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from advkd.files import FolderKind, download_folder, files_sha256
from advkd.registry.promotion import find_version
from advkd.registry.versions import RegistryError, answering, existing_registry, location, quiet
from advkd.students import CONFIG, WEIGHTS, StudentError, student_files
from advkd.teachers import is_remote, refuse_credentials

_MODEL = re.compile(r"models:/+([^/@]+)(?:@([^/@]+)|/([^/@]+))")
_OBJECT_STORES = ("s3",)


class StudentChangedError(StudentError):
    """A student that changes while it is read."""


def student_folder(place: str, runs: str) -> Path:
    """The local folder of a student; what is elsewhere is fetched into a cache, once per machine.

    Args:
        place: folder, URI, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        runs: folder of the registry, where MLFLOW_TRACKING_URI names none.

    Raises:
        StudentError: no student there.
        RegistryError: no such version, or one that lies where only MLflow can fetch it.
        StoreError: the object store did not give it.
        ValueError: credentials in a URI.
    """
    if place.startswith("models:"):
        place = _registered(place, runs)
    if not is_remote(place):
        return Path(place)
    refuse_credentials(place)
    return download_folder(STUDENTS, place)


def _registered(place: str, runs: str) -> str:
    named = _MODEL.fullmatch(place)
    if named is None:
        raise RegistryError(
            f"a registered student is named by models:/NAME@ALIAS or models:/NAME/VERSION, got {place!r}; "
            "`advkd registry ls` shows names and aliases"
        )
    with answering(), quiet():
        client = existing_registry(runs)
        found = location(client, find_version(client, named[1], named[2] or named[3]))
    scheme = urlsplit(found).scheme
    if scheme not in ("", *_OBJECT_STORES):
        raise RegistryError(
            f"a registered student can be fetched from a folder or from S3, but {place} lies at {scheme}:; fetch it "
            "with `mlflow artifacts download` and give that folder"
        )
    return found


def _wanted(key: str) -> bool:
    return key.removeprefix("student/") in (CONFIG, WEIGHTS)


def _fingerprint(folder: Path) -> str:
    return files_sha256(folder, sorted(path for path in folder.rglob("*") if path.is_file()))


STUDENTS = FolderKind(
    name="students",
    noun="a student",
    wanted=_wanted,
    check=student_files,
    fingerprint=_fingerprint,
    error=StudentError,
    changed=StudentChangedError,
)
