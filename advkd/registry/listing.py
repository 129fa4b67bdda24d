"""Lists registered versions: figures, state, lineage, and the differences between two of them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from advkd.registry.artifacts import location, what_is_wrong
from advkd.registry.gate import Figures, gate
from advkd.registry.promotion import PROMOTED_TAG, REPLACED_TAG, ROLLED_BACK_TAG, find_version, require_model
from advkd.registry.versions import CHAMPION, DIGEST_TAG, REASON_TAG, aliased, figures_on, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A version in a list.

    Attributes:
        name: registered name.
        version: number of the version.
        state: its aliases, "rolled back" if it was, and "artifact gone" or "unreadable" if it is.
        figures: its figures for the gate; None if another program registered it.
        gate: reason of the gate's decision when it was registered.
    """

    name: str
    version: int
    state: str
    figures: Figures | None
    gate: str

    @property
    def teacher(self) -> str:
        """First digits of the teacher's fingerprint."""
        return self.figures.teacher_fingerprint[:12] if self.figures else "-"

    def text(self, figure: str) -> str:
        """Formats a figure for a table."""
        value = getattr(self.figures, figure, None)
        return "-" if value is None else f"{value:.4g}"

    def as_json(self) -> dict[str, Any]:
        """Returns the version as plain JSON."""
        return asdict(self)


def models(client: "MlflowClient", name: str | None = None) -> list[str]:
    """Returns the names of the registered models, or only `name` if it is registered.

    Raises:
        RegistryError: there is no model of that name.
    """
    if name is not None:
        return [require_model(client, name).name]
    return sorted(model.name for model in client.search_registered_models(max_results=1000))


def overview(client: "MlflowClient", name: str) -> list[Overview]:
    """Returns a model's versions, the newest first."""
    return [_overview(client, version) for version in reversed(versions_of(client, name))]


def details(client: "MlflowClient", name: str, which: str) -> dict[str, Any]:
    """Returns all facts of a version.

    Raises:
        RegistryError: there is no such version.
    """
    version = find_version(client, name, which)
    known, run = _overview(client, version), _run(client, version)
    return {
        "model": name,
        "version": known.version,
        "state": known.state,
        "gate": known.gate,
        "figures": asdict(known.figures) if known.figures else {},
        "promoted": version.tags.get(PROMOTED_TAG),
        "took over from": version.tags.get(REPLACED_TAG),
        "rolled back": version.tags.get(ROLLED_BACK_TAG),
        "artifact_sha256": version.tags.get(DIGEST_TAG),
        "metrics": dict(sorted(run.data.metrics.items())) if run else {},
        "lineage": dict(sorted(run.data.params.items())) if run else {},
        "run": version.run_id,
        "report": f"{run.info.artifact_uri}/report/report.html" if run else None,
        "artifact": what_is_wrong(client, version, contents=True) or "as registered",
        "uri": location(client, version),
    }


def broken_champions(client: "MlflowClient") -> list[str]:
    """Returns a sentence for each champion whose artifact is gone, changed or unreadable; reads local ones whole."""
    sentences = []
    for name in models(client):
        version = aliased(client, name, CHAMPION)
        if version is not None and (wrong := what_is_wrong(client, version, contents=True)):
            place = location(client, version)
            sentences.append(f"{name} version {version.version}, the champion: its artifact is {wrong} ({place})")
    return sentences


def difference(client: "MlflowClient", name: str, one: str, other: str) -> dict[str, Any]:
    """Returns the differences between two versions, and whether the gate would replace the first by the other.

    Raises:
        RegistryError: a version does not exist.
    """
    left, right = (details(client, name, which) for which in (one, other))
    pairs = {}
    for group in ("figures", "metrics", "lineage"):
        for key in sorted(left[group].keys() | right[group].keys()):
            pairs[f"{group}.{key}"] = [left[group].get(key), right[group].get(key)]
    pairs |= {key: [left[key], right[key]] for key in ("version", "state", "artifact_sha256", "artifact")}
    champion, candidate = (figures_on(find_version(client, name, which)) for which in (one, other))
    said = "one of them has no figures"
    if champion is not None and candidate is not None:
        said = gate(candidate, champion).reason
    return {"differs": {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}, "gate": said}


def _run(client: "MlflowClient", version: Any) -> Any | None:
    """Returns the run of a version; None if another program registered it without one, or the run was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(version.run_id) if version.run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _overview(client: "MlflowClient", version: Any) -> Overview:
    marks = [*sorted(version.aliases), *(["rolled back"] if ROLLED_BACK_TAG in version.tags else [])]
    if wrong := what_is_wrong(client, version, contents=False):
        marks.append(f"artifact {wrong}")
    return Overview(
        name=version.name,
        version=int(version.version),
        state=", ".join(marks) or "-",
        figures=figures_on(version),
        gate=version.tags.get(REASON_TAG, ""),
    )
