"""Opens MLflow's registry, and finds versions and the facts in their tags."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy.engine import URL

from advkd.files import record_from_json
from advkd.registry.gate import Figures
from advkd.runtime import masked
from storage.objects import join, local_folder, whose

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
DIGEST_TAG = "advkd.artifact_sha256"
FIGURES_TAG = "advkd.figures"
DESCENT_TAG = "advkd.descent"
REASON_TAG = "advkd.gate"
_OTHER_SCHEMA = "out-of-date database schema"
_FULL = ("database or disk is full", "No space left on device")
"""What SQLite and PostgreSQL say of a full disk."""
_PASSING = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes of what may be over after a while; a lost connection is an internal error."""
_DATABASES = ("postgresql", "mysql", "sqlite", "mssql")


class RegistryError(ValueError):
    """The registry does not hold what is requested, or cannot do it."""


class RegistryUnreachableError(RegistryError, ConnectionError):
    """The registry does not answer."""


def require_registry(runs: str) -> None:
    """Refuses output in an object store without a registry, because a database cannot lie there.

    Raises:
        RegistryError: `runs` is no local folder, and MLFLOW_TRACKING_URI names no registry.
    """
    if local_folder(runs) is None and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise RegistryError(
            f"a registry needs a database, which cannot lie in an object store, got {runs} and no MLFLOW_TRACKING_URI; "
            "set it to an MLflow server or a database (as sqlite:////path/to/mlflow.db), or give a local folder"
        )


def artifact_location(runs: str) -> str | None:
    """Returns where a new experiment keeps its artifacts; None if the registry decides.

    A registry that is only a database would choose a folder below the working directory.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    here = local_folder(runs)
    if not uri:
        return None if here is None else (here.resolve() / ARTIFACTS).as_uri()
    database = urlsplit(uri).scheme.partition("+")[0] in _DATABASES
    return join(runs, ARTIFACTS) if here is None and database else None


def open_registry(runs: str) -> "MlflowClient":
    """Opens the registry of MLFLOW_TRACKING_URI, else that in the local folder `runs`, which it creates if necessary.

    Raises:
        RegistryError: there is neither.
    """
    require_registry(runs)
    # MLflow reads this when it is imported; users decide about telemetry.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    if os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient()
    folder = Path(runs).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # The first use creates the tables and logs messages about it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    database = sqlite_url(folder / DATABASE)
    return MlflowClient(tracking_uri=database, registry_uri=database)


def sqlite_url(file: Path) -> str:
    """Returns the URL of a SQLite database, as a `file:` URI, in which a path may hold '?', '#' and '%'.

    It names the driver: MLflow takes the rest of a URL that begins with `sqlite:///` for a path and makes its folders.
    So it would make `file:` in the working folder, which may not be writable.
    """
    database = file.absolute().as_uri().replace("file://", "file:")
    return URL.create("sqlite+pysqlite", database=database, query={"uri": "true"}).render_as_string()


def existing_registry(runs: str) -> "MlflowClient":
    """Opens the registry as `open_registry` does, but creates nothing.

    Raises:
        RegistryError: there is no registry, or this user may not read it.
        MlflowException: it does not answer, or its database is of another version.
    """
    require_registry(runs)
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (Path(runs) / DATABASE).is_file():
        raise RegistryError(
            f"a registry is a folder with {DATABASE}, got none in {runs}; give the flow's root with --runs, or set "
            "MLFLOW_TRACKING_URI"
        )
    file = Path(runs) / DATABASE
    if not os.environ.get("MLFLOW_TRACKING_URI") and not os.access(file, os.R_OK):
        # MLflow would try for minutes.
        raise RegistryError(f"a registry must be readable, but {file} is not ({whose(file)}); change its permissions")
    client = open_registry(runs)
    # MLflow compares a database's schema with its own only where it is asked about runs.
    client.search_experiments(max_results=1)
    return client


def registered_model(client: "MlflowClient", name: str) -> Any | None:
    """Returns the model of this name, None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        # Any other code means that the registry did not answer, not that there is no model.
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def versions_of(client: "MlflowClient", name: str) -> list[Any]:
    """Returns all versions of a model, the oldest first, with their aliases."""
    versions = client.search_model_versions(_named(name), max_results=10_000)
    return [
        client.get_model_version(name, version.version)
        for version in sorted(versions, key=lambda version: int(version.version))
    ]


def versions_of_artifact(client: "MlflowClient", name: str, digest: str) -> list[Any]:
    """Returns the versions whose artifact had this sha256 when it was registered, the newest first."""
    versions = client.search_model_versions(_named(name), max_results=10_000)
    same = [version for version in versions if version.tags.get(DIGEST_TAG) == digest]
    same.sort(key=lambda version: int(version.version), reverse=True)
    return [client.get_model_version(name, version.version) for version in same]


def _named(name: str) -> str:
    """Returns MLflow's filter for a model's versions; it takes a quoted text, and no escapes within it."""
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def aliased(client: "MlflowClient", name: str, alias: str) -> Any | None:
    """Returns the version with this alias, None if there is none."""
    # For a missing alias MLflow answers INVALID_PARAMETER_VALUE, as it does for other failures.
    model = registered_model(client, name)
    version = None if model is None else model.aliases.get(alias)
    return None if version is None else client.get_model_version(name, str(version))


def figures_on(version: Any | None) -> Figures | None:
    """Returns the gate's figures in a version's tags; None without a version, or if another program registered it."""
    if version is None or FIGURES_TAG not in version.tags:
        return None
    return record_from_json(Figures, version.tags[FIGURES_TAG])


@contextmanager
def answering() -> Iterator[None]:
    """Turns MLflow's errors into ours; enter it outside of `quiet`.

    Raises:
        RegistryError: the registry refuses the request, has no space, or is of another version of MLflow.
        RegistryUnreachableError: it does not answer, which may pass.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError, NoSuchModuleError

    try:
        yield
    except (DatabaseError, NoSuchModuleError) as error:
        said = masked(str(error).partition("\n")[0])
        raise RegistryError(
            f"a registry must be a database of MLflow that answers, but it said {said}; check MLFLOW_TRACKING_URI, "
            f"or the {DATABASE} of the root and its permissions"
        ) from error
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"a registry in a database needs its driver, got no {error.name}; `pip install 'advkd[postgres]'` brings "
            "one for MLFLOW_TRACKING_URI=postgresql+psycopg://USER@HOST/NAME"
        ) from error
    except MlflowException as error:
        lines = error.message.split("\n")
        full = next((line for line in lines if any(mark in line for mark in _FULL)), None)
        if full is not None:
            raise RegistryError(
                f"a registry must have space, but it said {full}; free some where its database and artifacts lie, and "
                "run the same command again: what is registered is kept"
            ) from error
        if _OTHER_SCHEMA in error.message:
            raise RegistryError(
                f"the registry's database is of another MLflow than this one ({version('mlflow-skinny')}); back it up "
                "and run `mlflow db upgrade URL`, or use the version of MLflow that made it"
            ) from error
        raise (RegistryUnreachableError if error.error_code in _PASSING else RegistryError)(
            f"the registry must answer, but it said {error.error_code} ({lines[0]}); check MLFLOW_TRACKING_URI and "
            "that the service is up"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the deprecation warnings that MLflow causes in its dependencies, and the secrets in its errors.

    Raises:
        RegistryUnreachableError: replaces an error whose message holds the password of MLFLOW_TRACKING_URI.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        said = masked(str(error))
        if said == str(error):
            raise
        raise RegistryUnreachableError(
            f"the registry must answer, but it said {said.partition(chr(10))[0]}; check MLFLOW_TRACKING_URI and that "
            "the service is up"
        ) from None
