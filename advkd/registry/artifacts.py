"""Where the artifact of a registered version lies, and whether it is still there and still what was registered.

MLflow records absolute places. They go stale where a root was moved, a run's files were deleted, or a bucket emptied.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from advkd.export import artifact_digest
from advkd.files import is_remote
from advkd.registry.versions import ARTIFACTS, DIGEST_TAG
from storage.errors import StoreError
from storage.objects import exists, join, local_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

_INDEX = "model_index.json"
"""Each artifact has it, whatever the student."""
_OBJECT_STORES = ("s3",)


def location(client: "MlflowClient", version: Any) -> str:
    """Returns the local folder, or URI in the artifact store, from which diffusers loads a version.

    Where a registry's root was moved with its artifacts, it is their present folder.
    """
    uri = str(client.get_model_version_download_uri(version.name, version.version))
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return uri
    path = Path(unquote(parts.path) if parts.scheme else uri)
    return str(path if path.exists() else _moved(client, path))


def same_place(one: str, other: str) -> bool:
    """Returns whether two local URIs name the same folder, however they are encoded or linked."""
    first, second = (local_folder(uri) for uri in (one, other))
    return first is not None and second is not None and first.resolve() == second.resolve()


def _moved(client: "MlflowClient", path: Path) -> Path:
    """Returns where a folder below `mlartifacts` lies now: beside the registry's database, else where it was."""
    root, parts = _root(client), path.parts
    if root is None or ARTIFACTS not in parts:
        return path
    below = len(parts) - parts[::-1].index(ARTIFACTS)
    now = root.joinpath(ARTIFACTS, *parts[below:])
    return now if now.exists() else path


def _root(client: "MlflowClient") -> Path | None:
    """Returns the folder of a registry's SQLite database, None for any other registry."""
    try:
        url = make_url(client.tracking_uri)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    database = url.database
    return Path(unquote(urlsplit(database).path) if database.startswith("file:") else database).parent


def what_is_wrong(client: "MlflowClient", version: Any, *, contents: bool) -> str:
    """Returns what is wrong with a version's artifact: "", "gone", "changed" or "unreadable".

    Args:
        client: client of the registry.
        version: the version.
        contents: compare the contents too, with the digest that was registered: reads a local artifact whole. In an
            object store, or behind a server, whether it is there is all that is asked.

    Raises:
        MlflowException: the registry does not answer.
    """
    place = location(client, version)
    if urlsplit(place).scheme not in ("", *_OBJECT_STORES):
        return "" if _is_behind_a_server(client, version) else "gone"
    try:
        if DIGEST_TAG not in version.tags:
            # Another program's: nothing is known about its files.
            return "" if is_remote(place) or Path(place).exists() else "gone"
        if not exists(join(place, _INDEX)):
            return "gone"
        if not contents or is_remote(place):
            return ""
        return "" if artifact_digest(place) == version.tags[DIGEST_TAG] else "changed"
    except (StoreError, OSError):
        return "unreadable"


def _is_behind_a_server(client: "MlflowClient", version: Any) -> bool:
    """Returns whether a server's artifact store has a version's folder; True if there is no run to ask about."""
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return True
    folder = str(version.source).rstrip("/").rpartition("/")[2]
    try:
        names = [entry.path for entry in client.list_artifacts(version.run_id, folder)]
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return f"{folder}/{_INDEX}" in names


def remedy(name: str, version: Any) -> str:
    """Returns how to mend a version whose artifact is gone or changed, as the end of a sentence."""
    return (
        "put its folder back, or run the same distill again, which logs it once more; `advkd registry rollback` goes "
        f"back to the champion before version {version.version} of {name}"
    )
