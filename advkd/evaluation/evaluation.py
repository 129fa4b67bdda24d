"""Evaluates a student against its teacher, and writes figures, pictures and page to one folder."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from advkd.device import torch_device
from advkd.diffusion import UNCONDITIONAL, Conditions, Prompts, Start, decoded, embedded, implied_clean
from advkd.evaluation.classes import CLASSES, class_scores, classes_json
from advkd.evaluation.cost import CostReport, measure_cost
from advkd.evaluation.distances import worth_steps
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.features import Extractor, chosen_features, state_features
from advkd.evaluation.pair import check_pair
from advkd.evaluation.pictures import CURVE_PICTURE, TRAINING_PICTURE, Strips, render_pictures
from advkd.evaluation.reference import PICTURES, TARGET_STEPS, Reference, references_for
from advkd.evaluation.report import render_report
from advkd.evaluation.results import LAYOUT, Distances, EvalReport
from advkd.evaluation.scores import score
from advkd.evaluation.spec import REFERENCE_STAGE, TRAJECTORIES_STAGE, EvaluateSpec, Progress
from advkd.evaluation.submodules import submodule_scores
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    clean_timesteps,
    evaluation_start,
    teacher_trajectory,
)
from advkd.evaluation.training_curves import read_observations, training_png, training_sentence
from advkd.files import file_sha256, publish, workplace
from advkd.networks import embeddings_places, find_embeddings
from advkd.students import AnyStudent, StudentFiles, fetched_student, load_student, student_files
from advkd.teachers import SolverSpec, Teacher, load_teacher
from advkd.text import store_link
from advkd.training import record_beside
from storage.folders import probe_folder
from storage.objects import delete, join, local_folder, write_bytes

METRICS = "metrics.json"
REPORT = "report.html"
PROBE = "writable"
BATCH = 256


def evaluate(spec: EvaluateSpec, progress: Progress | None = None) -> EvalReport:
    """Evaluates a student and writes `out`; calls `progress(stage, done, total)` during each stage.

    On disk metrics.json is removed first and written last, so a folder that has it is complete. In an object store the
    folder is published all or nothing.

    Raises:
        StudentError: the student cannot be used.
        TeacherError: the teacher cannot be used.
        EvaluationError: student and teacher do not fit, an extractor does not take their images, or images have NaN.
        StoreError: `out` (tried before anything is computed) or `references` cannot be written.
    """
    tell = progress or _silent
    files = student_files(fetched_student(spec.student))
    student = load_student(files.config.parent).to(torch_device(spec.device))
    teacher = load_teacher(spec.teacher, spec.device)
    solver = check_pair(student, teacher, spec.solver, spec.solver_steps)
    if isinstance(teacher.conditions, Prompts):
        # The student's embeddings are those of its store: no text encoder is loaded.
        places = embeddings_places(files.config.parent)
        teacher.conditions.adopt(find_embeddings(places, teacher.conditions.facts))
    curve = _curve(teacher, solver)
    extractors = chosen_features(spec.features, teacher)
    # Computing takes minutes, so an unwritable `out` is reported before.
    _begin(spec.out)
    references = references_for(
        teacher,
        extractors,
        root=spec.references,
        solver=curve.kind,
        real=spec.real,
        seed=spec.seed,
        samples=spec.samples,
        progress=partial(tell, REFERENCE_STAGE),
    )
    theirs = references[0].pictures if references else _pictures(teacher, curve, spec, partial(tell, REFERENCE_STAGE))
    trajectory = teacher_trajectory(
        teacher,
        solver=solver,
        timesteps=student.timesteps,
        seed=spec.seed,
        count=min(spec.samples, spec.trajectory_samples),
        root=spec.references,
        progress=partial(tell, TRAJECTORIES_STAGE),
    )
    start = evaluation_start(teacher, spec.seed, spec.samples)
    samples = student_samples(student, start, spec.device, partial(tell, "student"), teacher.conditions)
    strips = student_strips(student, start, trajectory, spec.device, teacher.conditions)
    tell("metrics", 0, 1)
    cost = measure_cost(student, teacher, solver=curve, device=spec.device, threads=spec.threads)
    report = _report(spec, files, student, teacher, extractors, references, samples, strips, solver, curve, cost)
    tell("metrics", 1, 1)
    ours = decoded(teacher.space, samples[: len(theirs)], spec.device)
    pictures = render_pictures(report, ours, theirs, strips.decoded(teacher.space, spec.device))
    classes = class_scores(teacher.conditions, start.condition, strips, teacher.space, spec.device)
    observations = read_observations(files.config.parent)
    if observations:
        light, dark = (training_png(observations, dark=dark) for dark in (False, True))
        pictures = replace(pictures, training=light, training_dark=dark)
    sentence = training_sentence(observations) if observations else ""
    told = "prompts" if isinstance(teacher.conditions, Prompts) else "classes"
    page = render_report(report, pictures, sentence, _trajectories(spec.student), classes, told)
    with workplace(spec.out) as folder:
        for optional in (TRAINING_PICTURE, CURVE_PICTURE, CLASSES):
            delete(str(folder / optional))
        for name, png in pictures.files().items():
            write_bytes(str(folder / name), png)
        if classes:
            write_bytes(str(folder / CLASSES), classes_json(classes).encode())
        write_bytes(str(folder / REPORT), page.encode())
        write_bytes(str(folder / METRICS), report.to_json().encode())
        publish(folder, spec.out)
    return report


def _begin(out: str) -> None:
    """Checks that a report can be written; on disk, makes the old report incomplete."""
    if local_folder(out) is None:
        probe_folder(out)
        return
    delete(join(out, METRICS))
    write_bytes(join(out, PROBE), b"")
    delete(join(out, PROBE))


@torch.no_grad()
def student_samples(
    student: AnyStudent,
    start: Start,
    device: str,
    progress: Callable[[int, int], None],
    conditions: Conditions = UNCONDITIONAL,
) -> Tensor:
    """Returns the student's clean states from the evaluation's starts, one pass each: float32 `[N, C, H, W]`, CPU.

    Raises:
        EvaluationError: a state holds NaN or infinity.
    """
    batches: list[Tensor] = []
    for part in start.split(BATCH):
        moved = part.to(device)
        batches.append(student(moved.noise, **embedded(conditions, moved.condition)).float().cpu().contiguous())
        progress(min(len(start), len(batches) * BATCH), len(start))
    return _finite(torch.cat(batches))


@torch.no_grad()
def student_strips(
    student: AnyStudent, start: Start, trajectory: Tensor, device: str, conditions: Conditions = UNCONDITIONAL
) -> Strips:
    """Returns states, and the clean images that they imply, of student and teacher on the first N starts.

    The teacher's trajectory is `[K + 1, N, C, H, W]`, its first state the noise. A submodule that works at a coarser
    side is compared at that side: by means over boxes, enlarged to the image's side.
    """
    noise = trajectory[0]
    parts = [part.to(device) for part in next(start.split(len(noise))).split(BATCH)]
    batches = [student.predictions(part.noise, **embedded(conditions, part.condition)) for part in parts]
    ours, theirs, our_clean, their_clean = [], [], [], []
    for k, predicted in enumerate(zip(*batches, strict=True)):
        mine = _finite(torch.cat([state.float().cpu() for state in predicted]))
        state, coarse = (
            adaptive_avg_pool2d(full, (mine.shape[-2], mine.shape[-1])) for full in (trajectory[k + 1], noise)
        )
        skip, gain = student.coefficients.skip[k], student.coefficients.gain[k]
        ours.append(_enlarged(mine, noise))
        theirs.append(_enlarged(state, noise))
        our_clean.append(_enlarged(implied_clean(mine, coarse, skip, gain), noise))
        their_clean.append(_enlarged(implied_clean(state, coarse, skip, gain), noise))
    return Strips(
        timesteps=student.timesteps,
        noise=noise,
        teacher_states=torch.stack(theirs),
        student_states=torch.stack(ours),
        teacher_clean=torch.stack(their_clean),
        student_clean=torch.stack(our_clean),
    )


def _enlarged(states: Tensor, like: Tensor) -> Tensor:
    return states if states.shape == like.shape else interpolate(states, size=like.shape[-2:], mode="nearest")


def _pictures(teacher: Teacher, fine: SolverSpec, spec: EvaluateSpec, progress: Callable[[int, int], None]) -> Tensor:
    """The teacher's first images at 50 steps, where no reference has them: `[P, C, H, W]`."""
    states = teacher_trajectory(
        teacher,
        solver=fine,
        timesteps=clean_timesteps(teacher, fine),
        seed=spec.seed,
        count=min(spec.samples, PICTURES),
        root=spec.references,
        progress=progress,
    )
    return decoded(teacher.space, states[-1], spec.device)


def _curve(teacher: Teacher, solver: SolverSpec) -> SolverSpec:
    """The solver of the teacher's curve at its finest point: DDIM, or that of the store where DDIM does not fit."""
    fine = SolverSpec(kind="ddim", steps=TARGET_STEPS)
    try:
        teacher.grid(fine)
    except ValueError:
        return replace(fine, kind=solver.kind)
    return fine


def _report(
    spec: EvaluateSpec,
    files: StudentFiles,
    student: AnyStudent,
    teacher: Teacher,
    extractors: Sequence[Extractor],
    references: Sequence[Reference],
    samples: Tensor,
    strips: Strips,
    solver: SolverSpec,
    curve: SolverSpec,
    cost: CostReport,
) -> EvalReport:
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
        distances=tuple(
            _distances(state_features(extractor, teacher.space, samples, spec.device), extractor, reference)
            for extractor, reference in zip(extractors, references, strict=True)
        ),
        submodules=submodule_scores(strips, teacher.space, spec.device, f"teacher@{solver.steps}", extractors),
        cost=cost,
        layout=LAYOUT,
    )


def _distances(features: Tensor, extractor: Extractor, reference: Reference) -> Distances:
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
    )


def config_digest(path: Path) -> str:
    """Returns the sha256 of a student's config, without diffusers' own keys."""
    config = {key: value for key, value in json.loads(path.read_text()).items() if not key.startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _finite(samples: Tensor) -> Tensor:
    if not bool(torch.isfinite(samples).all()):
        raise EvaluationError(
            "a student's output must be finite, got NaN or infinity; its training diverged: evaluate an earlier "
            "checkpoint or train again with a lower learning rate"
        )
    return samples


def _silent(stage: str, done: int, total: int) -> None:
    """Shows no progress."""


def _trajectories(student: str) -> str:
    """Returns a permanent link to the store that a student was trained on, "" if its run is not beside it."""
    record = record_beside(student)
    return store_link(str(record["identity"]["store"])) if record else ""
