"""The figures of a report, from the states of student and teacher."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from advkd.evaluation.cost import CostReport
from advkd.evaluation.distances import worth_steps
from advkd.evaluation.fidelity import LabelFidelity, images_read, label_fidelity
from advkd.evaluation.pictures import Strips
from advkd.evaluation.reference import Reference
from advkd.evaluation.results import LAYOUT, Distances, EvalReport
from advkd.evaluation.scores import score
from advkd.evaluation.spec import EvaluateSpec
from advkd.evaluation.submodules import submodule_scores
from advkd.evaluation.teacher_states import EVALUATION_START
from advkd.features import Extractor, state_features
from advkd.files import file_sha256
from advkd.students import AnyStudent, StudentFiles
from advkd.teachers import SolverSpec, Teacher


def measured(
    spec: EvaluateSpec,
    files: StudentFiles,
    student: AnyStudent,
    teacher: Teacher,
    extractors: Sequence[Extractor],
    distances: tuple[Distances, ...],
    strips: Strips,
    solver: SolverSpec,
    curve: SolverSpec,
    cost: CostReport,
) -> EvalReport:
    """Returns the report of an evaluation.

    Args:
        spec: its settings.
        files: the student's files.
        student: the student.
        teacher: its teacher.
        extractors: of the distances.
        distances: one per extractor.
        strips: states of student and teacher at each timestep.
        solver: the solver of the submodules' targets.
        curve: the solver of the teacher's curve at its finest point.
        cost: measured beside it.
    """
    return EvalReport(
        student_sha256=file_sha256(files.weights),
        student_config_digest=config_digest(files.config),
        sample_shape=teacher.space.image_shape,
        timesteps=student.timesteps,
        teacher=teacher.name,
        teacher_fingerprint=teacher.fingerprint,
        solver=solver.kind,
        solver_steps=solver.steps,
        curve_solver=curve.kind,
        seed=spec.seed,
        first_index=EVALUATION_START,
        samples=spec.samples,
        distances=distances,
        submodules=submodule_scores(strips, teacher.space, spec.device, f"teacher@{solver.steps}", extractors),
        cost=cost,
        layout=LAYOUT,
    )


def measured_distances(
    extractors: Sequence[Extractor],
    references: Sequence[Reference],
    teacher: Teacher,
    samples: Tensor,
    labels: Tensor | None,
    device: str,
) -> tuple[tuple[Distances, ...], tuple[Tensor, Tensor] | None]:
    """Returns the distances in each extractor's features, and which images of both are read as their class.

    Args:
        extractors: of the distances.
        references: one per extractor.
        teacher: the student's teacher.
        samples: the student's clean states `[N, C, H, W]`.
        labels: classes of the samples, int64 `[N]`, if they have some.
        device: where states are decoded.
    """
    distances, first = [], None
    for extractor, reference in zip(extractors, references, strict=True):
        features = state_features(extractor, teacher.space, samples, device)
        ours, theirs = (
            images_read(extractor, images, teacher.conditions, labels) for images in (features, reference.features)
        )
        distances.append(_distances(features, extractor, reference, label_fidelity(ours, theirs)))
        first = first or ((ours, theirs) if len(ours) else None)
    return tuple(distances), first


def _distances(
    features: Tensor, extractor: Extractor, reference: Reference, fidelity: LabelFidelity | None
) -> Distances:
    to_teacher = score(features, reference.teacher_set, extractor)
    return Distances(
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        real_sha256=reference.real_sha256,
        reference_digest=reference.digest,
        worth=worth_steps(reference.curve, to_teacher.fd.value),
        to_teacher=to_teacher,
        to_real=None if reference.real_set is None else score(features, reference.real_set, extractor),
        curve=reference.points,
        fidelity=fidelity,
    )


def config_digest(path: Path) -> str:
    """Returns the sha256 of a student's config, without diffusers' own keys."""
    config = {key: value for key, value in json.loads(path.read_text()).items() if not key.startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
