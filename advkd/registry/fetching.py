"""Finds and fetches students: in a local folder, below an object store's prefix, or as a registered version.

`models:/NAME@ALIAS` and `models:/NAME/VERSION` are MLflow's own addresses. Only config and safetensors are fetched,
never the code of an artifact.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from advkd.files import file_sha256, whole_folder
from advkd.registry.artifacts import location, remedy, what_is_wrong
from advkd.registry.promotion import find_version
from advkd.registry.versions import RegistryError, answering, existing_registry, quiet
from advkd.students import StudentError, fetched_student, is_wanted, student_files
from storage.reading import default_cache_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MODEL = re.compile(r"models:/+([^/@]+)(?:@([^/@]+)|/([^/@]+))")
_OBJECT_STORES = ("s3",)


def student_place(place: str, runs: str) -> str:
    """Returns the folder or URI of a student: as it was given, or that of a registered version.

    What lies behind an MLflow server is downloaded into the cache: config and safetensors, checked.

    Args:
        place: folder, URI, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        runs: folder of the registry, where MLFLOW_TRACKING_URI names none.

    Raises:
        RegistryError: there is no such version, its artifact is gone, or it cannot be fetched.
    """
    return _registered(place, runs) if place.startswith("models:") else place


def student_folder(place: str, runs: str) -> Path:
    """Returns the local folder of a student; fetches a remote one into a cache, once per machine.

    Args:
        place: folder, URI, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        runs: folder of the registry, where MLFLOW_TRACKING_URI names none.

    Raises:
        StudentError: there is no student.
        RegistryError: there is no such version, its artifact is gone, or only MLflow can fetch it.
        StoreError: the object store does not return it.
        ValueError: a URI holds credentials.
    """
    return fetched_student(student_place(place, runs))


def _registered(place: str, runs: str) -> str:
    named = _MODEL.fullmatch(place)
    if named is None:
        raise RegistryError(
            f"a registered student is named by models:/NAME@ALIAS or models:/NAME/VERSION, got {place!r}; "
            "`advkd registry ls` shows names and aliases"
        )
    with answering(), quiet():
        client = existing_registry(runs)
        version = find_version(client, named[1], named[2] or named[3])
        folder, wrong = location(client, version), what_is_wrong(client, version, contents=False)
    if wrong:
        raise RegistryError(
            f"a registered version must have its artifact, but that of {place} is {wrong}: {folder}; "
            f"{remedy(named[1], version)}"
        )
    if urlsplit(folder).scheme in ("", *_OBJECT_STORES):
        return folder
    with answering(), quiet():
        return str(_downloaded(client, version, place))


def _downloaded(client: "MlflowClient", version: Any, place: str) -> Path:
    """Returns the local copy of a version behind an MLflow server; downloads it once."""
    weights_sha256 = client.get_run(version.run_id).data.params.get("student_sha256") if version.run_id else None
    if weights_sha256 is None:
        raise RegistryError(
            f"a student behind a server is checked against the sha256 in its run, but {place} has none; fetch it with "
            "`mlflow artifacts download` and give that folder"
        )
    final = Path(default_cache_folder()) / "students" / f"registered-{version.run_id}"
    if not _is_intact(final, weights_sha256):
        root = str(version.source).rstrip("/").rpartition("/")[2]
        with whole_folder(final, "a student from the registry") as folder:
            for path in _files(client, version.run_id, root):
                if is_wanted(path.removeprefix(f"{root}/")):
                    client.download_artifacts(version.run_id, path, str(folder))
        below = final / root
        for entry in sorted(below.iterdir()) if below.is_dir() else ():
            entry.rename(final / entry.name)
        if not _is_intact(final, weights_sha256):
            raise RegistryError(
                f"a registered student must have the weights of its run ({weights_sha256[:12]}), but the server has "
                f"others for {place}; run the same distill again"
            )
    return final


def _is_intact(folder: Path, weights_sha256: str) -> bool:
    try:
        return file_sha256(student_files(folder).weights) == weights_sha256
    except (StudentError, OSError):
        return False


def _files(client: "MlflowClient", run_id: str, folder: str) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield str(entry.path)
