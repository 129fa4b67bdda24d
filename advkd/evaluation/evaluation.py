"""Evaluates a student against its teacher, and writes figures, pictures and page to one folder."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor

from advkd.device import torch_device
from advkd.diffusion import Prompts, decoded
from advkd.evaluation.classes import CLASSES, class_scores, classes_json
from advkd.evaluation.cost import measure_cost
from advkd.evaluation.measured import measured, measured_distances
from advkd.evaluation.pair import check_pair
from advkd.evaluation.pictures import CURVE_PICTURE, TRAINING_PICTURE, render_pictures
from advkd.evaluation.reference import PICTURES, TARGET_STEPS, references_for
from advkd.evaluation.report import render_report
from advkd.evaluation.results import EvalReport
from advkd.evaluation.spec import REFERENCE_STAGE, TRAJECTORIES_STAGE, EvaluateSpec, Progress
from advkd.evaluation.student_states import student_samples, student_strips
from advkd.evaluation.teacher_states import (
    clean_timesteps,
    evaluation_start,
    teacher_trajectory,
)
from advkd.evaluation.training_curves import read_observations, training_png, training_sentence
from advkd.features import chosen_features
from advkd.files import publish, workplace
from advkd.networks import adopt_embeddings
from advkd.students import fetched_student, load_student, student_files
from advkd.teachers import AUTO, SolverSpec, Teacher, fitting_solver, load_teacher
from advkd.text import store_link
from advkd.training import record_beside
from storage.folders import probe_folder
from storage.objects import delete, join, local_folder, write_bytes

METRICS = "metrics.json"
REPORT = "report.html"
PROBE = "writable"


def evaluate(spec: EvaluateSpec, progress: Progress | None = None) -> EvalReport:
    """Evaluates a student and writes `out`; calls `progress(stage, done, total)` during each stage.

    On disk metrics.json is removed first and written last, so a folder that has it is complete. In an object store the
    folder is published all or nothing.

    Raises:
        StudentError: the student cannot be used.
        TeacherError: the teacher cannot be used.
        FeatureError: an extractor does not take their images.
        EvaluationError: student and teacher do not fit, or images have NaN.
        StoreError: `out` (tried before anything is computed) or `references` cannot be written.
    """
    tell = progress or _silent
    files = student_files(fetched_student(spec.student))
    student = load_student(files.config.parent).to(torch_device(spec.device))
    teacher = load_teacher(spec.teacher, spec.device)
    solver = check_pair(student, teacher, spec.solver, spec.solver_steps)
    # Those of its prompts, if any, are those of its store: no text encoder is loaded.
    adopt_embeddings(teacher.conditions, files.config.parent)
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
    labels = start.condition.get("class_labels")
    samples = student_samples(student, start, spec.device, partial(tell, "student"), teacher.conditions)
    strips = student_strips(student, start, trajectory, spec.device, teacher.conditions)
    tell("metrics", 0, 1)
    cost = measure_cost(student, teacher, solver=curve, device=spec.device, threads=spec.threads)
    distances, read = measured_distances(extractors, references, teacher, samples, labels, spec.device)
    report = measured(spec, files, student, teacher, extractors, distances, strips, solver, curve, cost)
    tell("metrics", 1, 1)
    ours = decoded(teacher.space, samples[: len(theirs)], spec.device)
    pictures = render_pictures(report, ours, theirs, strips.decoded(teacher.space, spec.device))
    classes = class_scores(teacher.conditions, start.condition, strips, teacher.space, spec.device, read)
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
    """The solver of the teacher's curve at its finest point: DDIM, that of the store, or any that fits."""
    for kind in ("ddim", solver.kind):
        fine = SolverSpec(kind=kind, steps=TARGET_STEPS)
        try:
            teacher.grid(fine)
        except ValueError:
            continue
        return fine
    return fitting_solver(SolverSpec(kind=AUTO, steps=TARGET_STEPS), teacher)


def _silent(stage: str, done: int, total: int) -> None:
    """Shows no progress."""


def _trajectories(student: str) -> str:
    """Returns a permanent link to the store that a student was trained on, "" if its run is not beside it."""
    record = record_beside(student)
    return store_link(str(record["identity"]["store"])) if record else ""
