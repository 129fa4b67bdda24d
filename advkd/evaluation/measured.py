"""The figures of a report, from the features and states of student and teacher."""

import hashlib
import json
from pathlib import Path

from torch import Tensor

from advkd.distances import FeatureSet, rank_deficient
from advkd.evaluation.cost import CostReport
from advkd.evaluation.curve import DDIM, Curve
from advkd.evaluation.fidelity import Readings, readings
from advkd.evaluation.prompt_score import prompt_score
from advkd.evaluation.real import RealFeatures, RealSet
from advkd.evaluation.reference import Reference
from advkd.evaluation.results import LAYOUT, Distances, EvalReport, SubmoduleScores
from advkd.evaluation.scores import score
from advkd.evaluation.spec import EvaluateSpec
from advkd.evaluation.teacher_states import EVALUATION_START
from advkd.evaluation.worth import worth_passes
from advkd.features import Extractor
from advkd.files import file_sha256
from advkd.students import AnyStudent, StudentFiles
from advkd.teachers import SolverSpec, Teacher


def measured(
    spec: EvaluateSpec,
    files: StudentFiles,
    student: AnyStudent,
    teacher: Teacher,
    distances: tuple[Distances, ...],
    submodules: tuple[SubmoduleScores, ...],
    solver: SolverSpec,
    curve: Curve,
    cost: CostReport,
    real: RealSet | None,
) -> EvalReport:
    """Returns the report of an evaluation.

    Args:
        spec: its settings.
        files: the student's files.
        student: the student.
        teacher: its teacher.
        distances: one per extractor.
        submodules: scores of every submodule.
        solver: the solver of the submodules' targets.
        curve: the solvers of the teacher's curve, and its target.
        cost: measured beside it.
        real: the real images, if there are some.
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
        target_solver=curve.target.kind,
        target_steps=curve.target.steps,
        seed=spec.seed,
        first_index=EVALUATION_START,
        samples=spec.samples,
        classes=spec.classes,
        real_remarks="" if real is None or real.images is None else real.images.remarks,
        distances=distances,
        submodules=submodules,
        cost=cost,
        layout=LAYOUT,
    )


def measured_distances(
    extractor: Extractor,
    reference: Reference,
    teacher: Teacher,
    features: FeatureSet,
    numbers: Tensor | None,
    real: RealFeatures | None,
    read: Readings | None = None,
) -> Distances:
    """Returns the distances in one extractor's features.

    Args:
        extractor: of the features.
        reference: of the teacher, in the same features.
        teacher: the student's teacher.
        features: of the student's images.
        numbers: number of each image's class or prompt, int64 `[N]`; None without conditions.
        real: features of real images, if there are some.
        read: which images are read as their class (`read_as_asked`).
    """
    target = reference.target
    to_teacher = score(features, target, extractor, deviations=True)
    ddim = reference.of(DDIM)
    return Distances(
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        real_sha256="" if real is None else real.sha256,
        reference_digest=reference.digest,
        target_error=reference.target_error,
        worth=worth_passes(reference.distances, to_teacher.fd.value),
        worth_ddim=worth_passes(ddim, to_teacher.fd.value) if ddim else None,
        to_teacher=to_teacher,
        to_real=None if real is None else score(features, real.features, extractor, deviations=True, paired=False),
        teacher_to_real=None if real is None else score(target, real.features, extractor),
        curve=reference.points,
        rank_deficient=any(map(rank_deficient, (features, target, *(() if real is None else (real.features,))))),
        fidelity=None if read is None else read.shares(),
        prompt_score=prompt_score(extractor, teacher.conditions, numbers, features.features, target.features),
    )


def read_as_asked(
    extractor: Extractor, features: FeatureSet, reference: Reference, teacher: Teacher, numbers: Tensor | None
) -> Readings | None:
    """Returns which images of student and target are read as their class, None where none is read (`readings`)."""
    ours, theirs = features.features, reference.target.features
    if ours is None or theirs is None:
        return None
    return readings(extractor, ours, theirs, teacher.conditions, numbers)


def config_digest(path: Path) -> str:
    """Returns the sha256 of a student's config, without diffusers' own keys."""
    config = {key: value for key, value in json.loads(path.read_text()).items() if not key.startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
