"""Registers students in MLflow: in a SQLite file and a folder, or at MLFLOW_TRACKING_URI.

If output goes to an object store and the registry is a database, artifacts are logged there too, in `mlartifacts/`.

A registered version is the artifact folder, logged below its run. The gate moves the alias `champion`
(`advkd.registry.promotion`); `challenger` marks the newest version that it refused.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advkd.evaluation import METRICS, REPORT, EvalReport, EvaluationError
from advkd.export import Lineage, artifact_digest, export_artifact, lineage_of
from advkd.files import file_sha256, publish, read_published, refuse_credentials, scratch_folder, workplace
from advkd.registry.artifacts import location, same_place, what_is_wrong
from advkd.registry.describing import model_text, version_text
from advkd.registry.gate import RECALL_MARGIN, figures_of
from advkd.registry.promotion import decide
from advkd.registry.versions import (
    CHALLENGER,
    CHAMPION,
    DESCENT_TAG,
    DIGEST_TAG,
    FIGURES_TAG,
    REASON_TAG,
    answering,
    artifact_location,
    open_registry,
    quiet,
    registered_model,
    versions_of_artifact,
)
from advkd.students import fetched_student, student_files
from storage.errors import StoreNotFoundError
from storage.folders import fetch_folder
from storage.objects import exists, join, local_folder, read_bytes
from storage.records import author, make_plain

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

PICTURES = ("samples.png", "strips.png", "strips-clean.png", "curve.png", "nearest.png")


@dataclass(frozen=True, kw_only=True)
class RegisterSpec:
    """Settings of a registration.

    Attributes:
        student: folder or URI of the student, as in `EvaluateSpec`.
        report: URI of the folder that the student's evaluation wrote.
        out: folder or URI for the artifact.
        runs: local folder of `mlflow.db` and `mlartifacts/`, used if MLFLOW_TRACKING_URI is not set. A URI of an object
            store needs MLFLOW_TRACKING_URI, and holds `mlartifacts/` if that is a database.
        model: registered name; None: `advkd-<teacher>`.
        onnx: folder or URI of its ONNX export (`advkd.export.export_for_devices`), which becomes a part of the version;
            None: the version has none.
        store: URI of the store that the student was trained on, for the lineage.
        teacher: source of its teacher, as in `EvaluateSpec`, whose hub id the card names; None: it names none.
        experiment: name of the MLflow experiment.
        recall_margin: largest loss of recall with which a version still becomes champion.
    """

    student: str
    report: str
    out: str
    runs: str = "runs"
    model: str | None = None
    onnx: str | None = None
    store: str | None = None
    teacher: str | None = None
    experiment: str = "advkd"
    recall_margin: float = RECALL_MARGIN

    def __post_init__(self) -> None:
        make_plain(self)
        for uri in (self.student, self.report, self.out, self.runs, self.onnx or ""):
            refuse_credentials(uri)
        if self.model is not None and (
            not self.model.strip() or any(mark in self.model for mark in "/:") or {"'", '"'} <= set(self.model)
        ):
            raise ValueError(
                "RegisterSpec.model must be a name without '/' and ':', and with one kind of quotes at most, got "
                f"{self.model!r}; use one like advkd-digits"
            )
        if self.recall_margin < 0.0:
            raise ValueError(f"RegisterSpec.recall_margin must not be negative, got {self.recall_margin}; use 0.02")


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A registered version.

    Attributes:
        name: registered name.
        version: number of the version.
        alias: "champion", "challenger", or "" if it has neither alias any more.
        uri: local folder, or URI in the artifact store, from which diffusers loads the version.
        run_id: id of the MLflow run.
        created: whether this call created the version; False if the same artifact was registered already.
        decided: whether this call gave the alias; it also completes an interrupted earlier call.
        reason: reason of the gate's decision.
    """

    name: str
    version: int
    alias: str
    uri: str
    run_id: str
    created: bool
    decided: bool
    reason: str


def register(spec: RegisterSpec) -> RegisteredModel:
    """Exports the student, logs the run, creates a new version, and lets the gate decide on its alias.

    The same artifact is registered only once: a second call returns the existing version, unless what that version
    names is gone or was changed. Then the artifact is logged again, as a new version.

    Raises:
        StudentError: the student cannot be used.
        EvaluationError: there is no report, or it belongs to another student, or to another teacher than the store's.
        ExportError: the ONNX export is of another student.
        OSError: the artifact cannot be written.
        RegistryError: the registry does not answer, or has no space; no version is created and no alias moves.
    """
    report = _read_report(spec)
    lineage = lineage_of(spec.student, report, spec.store, spec.teacher)
    name = spec.model or f"advkd-{report.teacher}"
    with workplace(spec.out) as place, _onnx(spec) as onnx:
        with quiet():
            artifact = export_artifact(fetched_student(spec.student), place, lineage, report, onnx)
        publish(artifact, spec.out)
        return _registered(spec, artifact, report, lineage, name)


def _registered(spec: RegisterSpec, artifact: Path, report: EvalReport, lineage: Lineage, name: str) -> RegisteredModel:
    digest = artifact_digest(artifact)
    with answering(), quiet():
        client = open_registry(spec.runs)
        version = known = _whole(client, versions_of_artifact(client, name, digest))
        if known is not None and REASON_TAG in known.tags:
            return _describe(client, known, created=False, decided=False)
        if version is None:
            run_id = _log_run(client, spec, report, lineage, artifact)
            version = _create_version(client, name, run_id, spec, digest, report, lineage)
        decide(client, version, spec.recall_margin)
        return _describe(client, client.get_model_version(name, version.version), created=known is None, decided=True)


def _whole(client: "MlflowClient", versions: Sequence[Any]) -> Any | None:
    """Returns the first version whose artifact is there and is what was registered, None if there is none."""
    return next((version for version in versions if not what_is_wrong(client, version, contents=True)), None)


@contextmanager
def _onnx(spec: RegisterSpec) -> Iterator[Path | None]:
    """Yields the local folder of a student's ONNX export, None if it has none."""
    if spec.onnx is None or (here := local_folder(spec.onnx)) is not None:
        yield None if spec.onnx is None else here
        return
    with scratch_folder() as folder:
        fetch_folder(spec.onnx, folder / "onnx")
        yield folder / "onnx"


def _read_report(spec: RegisterSpec) -> EvalReport:
    try:
        report = EvalReport.from_json(read_published(spec.report, METRICS))
    except StoreNotFoundError as error:
        raise EvaluationError(
            f"a registration needs a finished evaluation, got no {METRICS} in {spec.report}; run `advkd evaluate` first"
        ) from error
    weights = student_files(fetched_student(spec.student)).weights
    sha256 = file_sha256(weights)
    if sha256 != report.student_sha256:
        raise EvaluationError(
            f"a report must be of the student it is registered with, got one of {report.student_sha256[:12]} for "
            f"weights {sha256[:12]} in {spec.student}; evaluate this student"
        )
    return report


def _experiment(client: "MlflowClient", spec: RegisterSpec) -> str:
    """Returns the id of the experiment; of another one, named after its place, if the root was moved since.

    MLflow keeps new artifacts where the experiment began, which is then a folder that nobody looks at any more.
    """
    wanted = artifact_location(spec.runs)
    experiment = client.get_experiment_by_name(spec.experiment)
    if experiment is None:
        return str(client.create_experiment(spec.experiment, artifact_location=wanted))
    if (
        wanted is not None
        and str(experiment.artifact_location).startswith("file:")
        and (not same_place(str(experiment.artifact_location), wanted))
    ):
        here = f"{spec.experiment} in {local_folder(wanted)}"
        experiment = client.get_experiment_by_name(here)
        if experiment is None:
            return str(client.create_experiment(here, artifact_location=wanted))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
        logger.warning("the experiment %s had been deleted and is restored: a registration logs to it", experiment.name)
    return str(experiment.experiment_id)


def _log_run(client: "MlflowClient", spec: RegisterSpec, report: EvalReport, lineage: Lineage, artifact: Path) -> str:
    run = client.create_run(
        _experiment(client, spec), run_name=f"{report.teacher}-{report.student_sha256[:8]}", tags=_creator()
    )
    run_id = str(run.info.run_id)
    try:
        for key, value in _params(report, lineage).items():
            client.log_param(run_id, key, value)
        for key, number in _metrics(report).items():
            client.log_metric(run_id, key, number)
        with scratch_folder() as folder:
            for name in (METRICS, REPORT, *PICTURES):
                if exists(join(spec.report, name)):
                    (folder / name).write_bytes(read_bytes(join(spec.report, name)))
            _log_folder(client, spec, run, folder, "report")
        _log_folder(client, spec, run, artifact, "model")
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def _log_folder(client: "MlflowClient", spec: RegisterSpec, run: Any, folder: Path, name: str) -> None:
    """Logs a folder as artifacts of a run; writes it itself if the artifacts lie beside our own output."""
    ours = artifact_location(spec.runs) if local_folder(spec.runs) is None else None
    if ours is not None and str(run.info.artifact_uri).startswith(f"{ours}/"):
        publish(folder, join(str(run.info.artifact_uri), name))
    else:
        client.log_artifacts(str(run.info.run_id), str(folder), name)


def _creator() -> dict[str, str]:
    """Returns the tag by which MLflow names a creator: the author of our records, unless that is left out."""
    return {"mlflow.user": author()} if author() else {}


def _create_version(
    client: "MlflowClient",
    name: str,
    run_id: str,
    spec: RegisterSpec,
    digest: str,
    report: EvalReport,
    lineage: Lineage,
) -> Any:
    if registered_model(client, name) is None:
        client.create_registered_model(name, description=model_text(report.teacher))
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    tags = {DIGEST_TAG: digest, FIGURES_TAG: json.dumps(asdict(figures_of(report))), DESCENT_TAG: lineage.descent()}
    picture = f"report/{PICTURES[0]}" if exists(join(spec.report, PICTURES[0])) else None
    size = student_files(fetched_student(spec.student)).weights.stat().st_size
    text = version_text(report, lineage, size, run_id, picture)
    return client.create_model_version(name, source, run_id=run_id, tags=tags | _creator(), description=text)


def _describe(client: "MlflowClient", version: Any, *, created: bool, decided: bool) -> RegisteredModel:
    aliases = [alias for alias in (CHAMPION, CHALLENGER) if alias in version.aliases]
    return RegisteredModel(
        name=version.name,
        version=int(version.version),
        alias=aliases[0] if aliases else "",
        uri=location(client, version),
        run_id=version.run_id,
        created=created,
        decided=decided,
        reason=version.tags.get(REASON_TAG, ""),
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
        "evaluation.comparable": report.not_comparable or "yes",
        "evaluation.seed": report.seed,
        "evaluation.reference": ", ".join(distances.reference_digest for distances in report.distances),
        **_flatten("train", lineage.train),
    }
    return {key: str(value) for key, value in facts.items()}


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flatten(f"{prefix}.{name}", inner).items()}


def _metrics(report: EvalReport) -> dict[str, float]:
    metrics: dict[str, float | None] = {
        "worth": None if report.worth is None else report.worth.passes,
        "cost_ratio": report.cost_ratio,
        **{f"latency_ratio.batch_{batch}": ratio for batch, ratio in report.latency_ratios.items()},
    }
    for distances in report.distances:
        if not report.not_comparable:
            metrics[f"{distances.extractor}.worth"] = distances.worth.passes
            metrics[f"{distances.extractor}.worth_ddim"] = (
                None if distances.worth_ddim is None else distances.worth_ddim.passes
            )
        metrics[f"{distances.extractor}.fd_deviation"] = distances.to_teacher.fd.deviation
        if distances.prompt_score is not None:
            metrics[f"{distances.extractor}.prompt_score"] = distances.prompt_score.student
            metrics[f"{distances.extractor}.prompt_score_of_teacher"] = distances.prompt_score.teacher
        if distances.fidelity is not None:
            name = "fitted_" * distances.fidelity.fitted + "label_fidelity"
            metrics[f"{distances.extractor}.{name}"] = distances.fidelity.student
            metrics[f"{distances.extractor}.{name}_of_teacher"] = distances.fidelity.teacher
        for against, scores in (("teacher", distances.to_teacher), ("real", distances.to_real)):
            for metric in () if scores is None else scores.metrics():
                metrics[f"{distances.extractor}.{metric.name.split('(')[0].lower()}_to_{against}"] = metric.value
    for who, cost in (("student", report.cost.student), ("teacher", report.cost.teacher)):
        metrics[f"{who}.params"], metrics[f"{who}.macs"] = cost.params, cost.macs
        for batch, latency in cost.latency_ms.items():
            metrics[f"{who}.latency_ms.batch_{batch}"] = latency
    return {key: float(value) for key, value in metrics.items() if value is not None}
