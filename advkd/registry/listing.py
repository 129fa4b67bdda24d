"""Registered versions as people and machines look at them: figures, state, lineage, and how two of them differ."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from advkd.registry.gate import Figures, gate
from advkd.registry.promotion import PROMOTED_TAG, REPLACED_TAG, ROLLED_BACK_TAG, find_version, require_model
from advkd.registry.versions import DIGEST_TAG, REASON_TAG, figures_on, location, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One version in a list.

    Attributes:
        name: registered name.
        version: its number.
        state: its aliases, and "rolled back" where it was.
        figures: of the gate, None for a version that is not ours.
        gate: what the gate said when it was registered.
    """

    name: str
    version: int
    state: str
    figures: Figures | None
    gate: str

    @property
    def teacher(self) -> str:
        """The start of the teacher's fingerprint."""
        return self.figures.teacher_fingerprint[:12] if self.figures else "-"

    def text(self, figure: str) -> str:
        """A figure for a table."""
        value = getattr(self.figures, figure, None)
        return "-" if value is None else f"{value:.4g}"

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def models(client: "MlflowClient", name: str | None = None) -> list[str]:
    """Names of the registered models; of one, if it is there.

    Raises:
        RegistryError: there is none of that name.
    """
    if name is not None:
        return [require_model(client, name).name]
    return sorted(model.name for model in client.search_registered_models(max_results=1000))


def overview(client: "MlflowClient", name: str) -> list[Overview]:
    """A model's versions, the newest first."""
    return [_overview(version) for version in reversed(versions_of(client, name))]


def details(client: "MlflowClient", name: str, which: str) -> dict[str, Any]:
    """Everything that is noted on a version.

    Raises:
        RegistryError: there is none.
    """
    version = find_version(client, name, which)
    # One that is not ours may have no run.
    known, run = _overview(version), client.get_run(version.run_id) if version.run_id else None
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
        "uri": location(client, version),
    }


def difference(client: "MlflowClient", name: str, one: str, other: str) -> dict[str, Any]:
    """What differs between two versions, and whether the gate would have the other one take over.

    Raises:
        RegistryError: one of them is not there.
    """
    left, right = (details(client, name, which) for which in (one, other))
    pairs = {}
    for group in ("figures", "metrics", "lineage"):
        for key in sorted(left[group].keys() | right[group].keys()):
            pairs[f"{group}.{key}"] = [left[group].get(key), right[group].get(key)]
    pairs |= {key: [left[key], right[key]] for key in ("version", "state", "artifact_sha256")}
    champion, candidate = (figures_on(find_version(client, name, which)) for which in (one, other))
    said = "one of them has no figures"
    if champion is not None and candidate is not None:
        said = gate(candidate, champion).reason
    return {"differs": {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}, "gate": said}


def _overview(version: Any) -> Overview:
    marks = [*sorted(version.aliases), *(["rolled back"] if ROLLED_BACK_TAG in version.tags else [])]
    return Overview(
        name=version.name,
        version=int(version.version),
        state=", ".join(marks) or "-",
        figures=figures_on(version),
        gate=version.tags.get(REASON_TAG, ""),
    )
