"""MLflow as run log and model registry: a SQLite file and a folder, or what MLFLOW_TRACKING_URI says.

A registered version is the artifact folder, logged below its run. The alias `champion` moves only when the gate says
so, `challenger` marks the newest version that it refused.
"""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluate import METRICS, REPORT
from advkd.evaluation.results import EvalReport
from advkd.hashing import file_sha256
from advkd.records import from_record
from advkd.registry.artifact import artifact_digest, export_artifact
from advkd.registry.gate import RECALL_MARGIN, Figures, figures_of, gate
from advkd.registry.lineage import Lineage, lineage_of
from advkd.students.loading import student_files
from storage.errors import StoreNotFoundError
from storage.objects import exists, join, read_bytes

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
PICTURES = ("samples.png", "strips.png", "strips-clean.png", "curve.png")
_DIGEST_TAG = "advkd.artifact_sha256"
_FIGURES_TAG = "advkd.figures"
_REASON_TAG = "advkd.gate"


@dataclass(frozen=True, kw_only=True)
class RegisterSpec:
    """One registration.

    Attributes:
        student: local folder of the student, as in `EvaluateSpec`.
        report: URI of the folder that its evaluation wrote.
        out: local folder for the artifact.
        runs: local folder of `mlflow.db` and `mlartifacts/`, used where MLFLOW_TRACKING_URI is not set.
        model: registered name; None: `advkd-<teacher>`.
        store: URI of the store it was trained from, for the lineage.
        experiment: name of MLflow's experiment.
        recall_margin: how much recall a champion may lose.
    """

    student: str
    report: str
    out: str
    runs: str = "runs"
    model: str | None = None
    store: str | None = None
    experiment: str = "advkd"
    recall_margin: float = RECALL_MARGIN

    def __post_init__(self) -> None:
        if self.model is not None and (not self.model.strip() or any(mark in self.model for mark in "/:")):
            raise ValueError(
                f"RegisterSpec.model must be a name without '/' and ':', got {self.model!r}; use one like advkd-digits"
            )
        if self.recall_margin < 0.0:
            raise ValueError(f"RegisterSpec.recall_margin must not be negative, got {self.recall_margin}; use 0.02")


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A version in the registry.

    Attributes:
        name: registered name.
        version: number of the version.
        alias: "champion", "challenger", or "" if both have moved on.
        uri: where diffusers loads it from: a local folder by default, else the artifact store's URI.
        run_id: MLflow's run.
        created: whether this call made it; False: the same artifact was registered already.
        reason: the gate's.
    """

    name: str
    version: int
    alias: str
    uri: str
    run_id: str
    created: bool
    reason: str


def register(spec: RegisterSpec) -> RegisteredModel:
    """Exports the student, logs the run, makes a new version and lets the gate decide on its alias.

    The same artifact is registered once: a second call returns the version that is there.

    Raises:
        StudentError: no usable student.
        EvaluationError: no report, one of another student, or one against another teacher than the store's.
        OSError: the artifact cannot be written.
        MlflowException: the registry did not answer; no version is made and no alias moves.
    """
    report = _read_report(spec)
    lineage = lineage_of(spec.student, report, spec.store)
    artifact = export_artifact(spec.student, spec.out, lineage, report)
    digest = artifact_digest(artifact)
    name = spec.model or f"advkd-{report.teacher}"
    with _quiet():
        client = _client(spec)
        version = known = _registered(client, name, digest)
        if known is not None and _REASON_TAG in known.tags:
            return _describe(client, known, created=False)
        if version is None:
            version = _create_version(client, name, _log_run(client, spec, report, lineage, artifact), digest, report)
        decision = gate(figures_of(report), _figures(_alias(client, name, CHAMPION)), spec.recall_margin)
        client.set_registered_model_alias(name, CHAMPION if decision.promote else CHALLENGER, version.version)
        # Last: a version without a reason was interrupted before its alias, and the next call goes on from there.
        client.set_model_version_tag(name, version.version, _REASON_TAG, decision.reason)
        return _describe(client, client.get_model_version(name, version.version), created=known is None)


def _read_report(spec: RegisterSpec) -> EvalReport:
    try:
        report = EvalReport.from_json(read_bytes(join(spec.report, METRICS)))
    except StoreNotFoundError as error:
        raise EvaluationError(
            f"a registration needs a finished evaluation, got no {METRICS} in {spec.report}; run `advkd evaluate` first"
        ) from error
    weights = student_files(spec.student).weights
    found = file_sha256(weights)
    if found != report.student_sha256:
        raise EvaluationError(
            f"a report must be of the student it is registered with, got one of {report.student_sha256[:12]} for "
            f"weights {found[:12]} in {spec.student}; evaluate this student"
        )
    return report


def _client(spec: RegisterSpec) -> "MlflowClient":
    # Read when MLflow is imported: our users decide about telemetry, not its default.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    if os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient()
    runs = Path(spec.runs).resolve()
    runs.mkdir(parents=True, exist_ok=True)
    # The first use creates the tables and tells so, which nobody asked.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    database = f"sqlite:///{runs / 'mlflow.db'}"
    return MlflowClient(tracking_uri=database, registry_uri=database)


def _experiment(client: "MlflowClient", spec: RegisterSpec) -> str:
    found = client.get_experiment_by_name(spec.experiment)
    if found is not None:
        return str(found.experiment_id)
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return str(client.create_experiment(spec.experiment))
    location = (Path(spec.runs).resolve() / "mlartifacts").as_uri()
    return str(client.create_experiment(spec.experiment, artifact_location=location))


def _log_run(client: "MlflowClient", spec: RegisterSpec, report: EvalReport, lineage: Lineage, artifact: Path) -> str:
    run = client.create_run(_experiment(client, spec), run_name=f"{report.teacher}-{report.student_sha256[:8]}")
    run_id = str(run.info.run_id)
    try:
        for key, value in _params(report, lineage).items():
            client.log_param(run_id, key, value)
        for key, number in _metrics(report).items():
            client.log_metric(run_id, key, number)
        with tempfile.TemporaryDirectory() as folder:
            for name in (METRICS, REPORT, *PICTURES):
                if exists(join(spec.report, name)):
                    copy = Path(folder) / name
                    copy.write_bytes(read_bytes(join(spec.report, name)))
                    client.log_artifact(run_id, str(copy), "report")
        client.log_artifacts(run_id, str(artifact), "model")
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def _create_version(client: "MlflowClient", name: str, run_id: str, digest: str, report: EvalReport) -> Any:
    if _model(client, name) is None:
        client.create_registered_model(name)
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    tags = {_DIGEST_TAG: digest, _FIGURES_TAG: json.dumps(asdict(figures_of(report)))}
    return client.create_model_version(name, source, run_id=run_id, tags=tags)


def _registered(client: "MlflowClient", name: str, digest: str) -> Any | None:
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(_DIGEST_TAG) == digest:
            return client.get_model_version(name, version.version)
    return None


def _model(client: "MlflowClient", name: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        # Any other code says that the registry did not answer, not that there is no model.
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _alias(client: "MlflowClient", name: str, alias: str) -> Any | None:
    # Asked for a missing alias itself, MLflow answers INVALID_PARAMETER_VALUE, which other failures share.
    model = _model(client, name)
    version = None if model is None else model.aliases.get(alias)
    return None if version is None else client.get_model_version(name, str(version))


def _figures(champion: Any | None) -> Figures | None:
    if champion is None or _FIGURES_TAG not in champion.tags:
        return None
    figures: Figures = from_record(Figures, json.loads(champion.tags[_FIGURES_TAG]))
    return figures


def _describe(client: "MlflowClient", version: Any, *, created: bool) -> RegisteredModel:
    uri = client.get_model_version_download_uri(version.name, version.version)
    parts = urlsplit(uri)
    aliases = [alias for alias in (CHAMPION, CHALLENGER) if alias in version.aliases]
    return RegisteredModel(
        name=version.name,
        version=int(version.version),
        alias=aliases[0] if aliases else "",
        uri=unquote(parts.path) if parts.scheme == "file" else uri,
        run_id=version.run_id,
        created=created,
        reason=version.tags.get(_REASON_TAG, ""),
    )


def _params(report: EvalReport, lineage: Lineage) -> dict[str, str]:
    facts: dict[str, Any] = {
        "teacher": lineage.teacher,
        "teacher_fingerprint": lineage.teacher_fingerprint,
        "store": lineage.store,
        "store_digest": lineage.store_digest,
        "code_revision": lineage.code_revision,
        "student_sha256": report.student_sha256,
        "timesteps": report.timesteps,
        "evaluation.samples": report.samples,
        "evaluation.seed": report.seed,
        "evaluation.reference": report.reference_digest,
        **_flatten("train", lineage.train),
    }
    return {key: str(value) for key, value in facts.items()}


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flatten(f"{prefix}.{name}", inner).items()}


def _metrics(report: EvalReport) -> dict[str, float]:
    found: dict[str, float | None] = {"worth_steps": report.worth.steps}
    for against, scores in (("teacher", report.to_teacher), ("real", report.to_real)):
        for metric in () if scores is None else scores.metrics():
            found[f"{metric.name.split('(')[0].lower()}_to_{against}"] = metric.value
    for who, cost in (("student", report.cost.student), ("teacher", report.cost.teacher)):
        found[f"{who}.params"], found[f"{who}.macs"] = cost.params, cost.macs
        for batch, latency in cost.latency_ms.items():
            found[f"{who}.latency_ms.batch_{batch}"] = latency
    return {key: float(value) for key, value in found.items() if value is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warnings that MLflow raises against its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
