"""Finds and fetches students: in a local folder, below an object store's prefix, or as a registered version.

`models:/NAME@ALIAS` and `models:/NAME/VERSION` are MLflow's own addresses. Only config and safetensors are fetched,
never the code of an artifact.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from advkd.registry.artifacts import location, remedy, what_is_wrong
from advkd.registry.promotion import find_version
from advkd.registry.versions import RegistryError, answering, existing_registry, quiet
from advkd.students import fetched_student

_MODEL = re.compile(r"models:/+([^/@]+)(?:@([^/@]+)|/([^/@]+))")
_OBJECT_STORES = ("s3",)


def student_place(place: str, runs: str) -> str:
    """Returns the folder or URI of a student: as it was given, or that of a registered version.

    Args:
        place: folder, URI, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        runs: folder of the registry, where MLFLOW_TRACKING_URI names none.

    Raises:
        RegistryError: there is no such version, its artifact is gone, or only MLflow can fetch it.
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
    scheme = urlsplit(folder).scheme
    if scheme not in ("", *_OBJECT_STORES):
        raise RegistryError(
            f"a registered student can be fetched from a folder or from S3, but {place} lies at {scheme}:; fetch it "
            "with `mlflow artifacts download` and give that folder"
        )
    return folder
