"""Where a student comes from: teacher, store, training, code. No machine's paths and no credentials."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from advkd.evaluation import EvalReport, EvaluationError
from advkd.teachers import hub_repository
from advkd.training import record_beside
from storage import read_manifest
from storage.records import code_revision


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A student's descent.

    Attributes:
        teacher: name (slug).
        teacher_fingerprint: sha256 of the teacher.
        store: public form of the store's URI, "" if unknown.
        store_digest: of the store's spec, "" if unknown.
        train: the training run's settings, empty if unknown.
        code_revision: of this package.
        base_model: hub id of the teacher; "" if it came from elsewhere.
    """

    teacher: str
    teacher_fingerprint: str
    store: str = ""
    store_digest: str = ""
    train: dict[str, Any]
    code_revision: str
    base_model: str = ""

    def descent(self) -> str:
        """sha256 of what makes two students the same attempt: teacher, store and settings; "" where it is unknown."""
        if not self.store_digest or not self.train:
            return ""
        facts = [self.teacher_fingerprint, self.store_digest, self.train]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def lineage_of(
    student: str | Path, report: EvalReport, store: str | None = None, teacher: str | None = None
) -> Lineage:
    """The lineage of a student, from its report and its training run's checkpoint beside it.

    Args:
        student: folder or URI.
        report: its evaluation.
        store: what it was trained on.
        teacher: source of its teacher, as in `EvaluateSpec`; None: not noted.

    Raises:
        EvaluationError: the store holds another teacher's trajectories than the report's.
        CheckpointError: the training run's newest checkpoint is damaged.
        StoreError: no readable store.
    """
    record = record_beside(str(student))
    settings = dict(record["identity"]) if record else {}
    digest = str(settings.pop("store", ""))
    if store is not None:
        manifest = read_manifest(store)
        digest = manifest.digest
        if manifest.spec.fingerprint != report.teacher_fingerprint:
            raise EvaluationError(
                f"a student must be evaluated against the teacher of its store, got {report.teacher_fingerprint[:12]} "
                f"in the report and {manifest.spec.fingerprint[:12]} in {store}; evaluate it against that teacher"
            )
    return Lineage(
        teacher=report.teacher,
        teacher_fingerprint=report.teacher_fingerprint,
        store="" if store is None else public_uri(store),
        store_digest=digest,
        train=settings,
        code_revision=code_revision(),
        base_model="" if teacher is None else hub_repository(teacher),
    )


def public_uri(uri: str) -> str:
    """A URI as it may be published: without user, password and query; of a local path the last two parts only."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return "/".join(PurePath(parts.path).parts[-2:]).lstrip("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
