"""Publishes a registered version on the model hub: its folder as it is, with the licence in its card."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from advkd.export import check_card, licensed
from advkd.files import scratch_folder
from advkd.registry.fetching import student_place
from advkd.registry.versions import RegistryError
from storage.folders import fetch_folder
from storage.objects import local_folder

CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that is uploaded: its name in the repository, and its size in bytes."""

    name: str
    size: int


def publish_version(
    version: str, repository: str, runs: str, *, license: str = "", base_model: str = "", upload: bool = False
) -> list[Upload]:
    """Lists the files of a version and, if `upload` is set, uploads them to a repository of the hub.

    Args:
        version: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or an artifact's folder or URI.
        repository: `owner/name`; created if there is none.
        runs: folder of the registry, where MLFLOW_TRACKING_URI names none.
        license: for the card, such as apache-2.0; "": as its teacher's.
        base_model: hub id of the teacher, for the card; "": what the card says.
        upload: whether to upload.

    Raises:
        RegistryError: there is no such version, or no `owner/name`.
        ValueError: it has no card.
        StoreError: the object store does not return it.
        HfHubHTTPError: the hub refuses it.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RegistryError(f"a repository of the hub is named owner/name, got {repository!r}; give both")
    place = student_place(version, runs)
    with scratch_folder() as scratch:
        folder = scratch / "version"
        here = local_folder(place)
        if here is None:
            fetch_folder(place, folder)
        elif not (here / CARD).is_file():
            raise RegistryError(
                f"a version is a folder with {CARD}, got none in {place}; name one as models:/NAME@champion"
            )
        else:
            shutil.copytree(here, folder, ignore=shutil.ignore_patterns("__pycache__"))
        check_card(folder)
        card = folder / CARD
        card.write_text(licensed(card.read_text(encoding="utf-8"), license, base_model), encoding="utf-8")
        if upload:
            _upload(folder, repository)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [Upload(name=path.relative_to(folder).as_posix(), size=path.stat().st_size) for path in files]


def _upload(folder: Path, repository: str) -> None:
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(repository, exist_ok=True)
    hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="A one-pass student, by advkd")
