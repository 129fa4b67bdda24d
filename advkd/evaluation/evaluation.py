"""Evaluates a student against its teacher, and writes figures, pictures and page to one folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from advkd.device import torch_device
from advkd.diffusion import Prompts, decoded
from advkd.distances import frechet_distance
from advkd.evaluation.classes import CLASSES, ClassScores, check_classes, chosen_classes, class_scores, classes_json
from advkd.evaluation.cost import cost_solver, measure_cost
from advkd.evaluation.curve import Curve, curve_of, finer
from advkd.evaluation.fidelity import Readings, best_reading
from advkd.evaluation.measured import measured, measured_distances, read_as_asked
from advkd.evaluation.nearest import nearest_png
from advkd.evaluation.pair import check_pair
from advkd.evaluation.pictures import CURVE_PICTURE, NEAREST_PICTURE, TRAINING_PICTURE, Strips, render_pictures
from advkd.evaluation.real import open_real
from advkd.evaluation.reference import PICTURES, Reference, references_for
from advkd.evaluation.report import render_report
from advkd.evaluation.results import EvalReport
from advkd.evaluation.spec import REFERENCE_STAGE, TRAJECTORIES_STAGE, EvaluateSpec, Progress, check_images
from advkd.evaluation.strips import all_strips
from advkd.evaluation.student_images import StudentImages, student_images
from advkd.evaluation.submodules import Submodules
from advkd.evaluation.teacher_states import clean_timesteps, teacher_trajectory
from advkd.evaluation.training_curves import read_observations, training_png, training_sentence
from advkd.features import Extractor, chosen_features
from advkd.files import publish, workplace
from advkd.networks import adopt_embeddings
from advkd.students import fetched_student, load_student, student_files
from advkd.teachers import Teacher, load_teacher
from advkd.text import store_link
from advkd.training import record_beside
from storage.folders import probe_folder
from storage.objects import delete, join, local_folder, write_bytes

METRICS = "metrics.json"
REPORT = "report.html"
PROBE = "writable"
TARGET_SHARE = 0.1
"""Of the student's distance that the target's own error may be."""


@dataclass(frozen=True)
class Evaluated:
    """A report, and the first images of student and target from the same noises, `[P, C, H, W]` in [-1, 1]."""

    report: EvalReport
    student: Tensor
    target: Tensor


def evaluate(spec: EvaluateSpec, progress: Progress | None = None) -> EvalReport:
    """Evaluates a student and writes `out`; see `evaluate_with_images`."""
    return evaluate_with_images(spec, progress).report


def evaluate_with_images(spec: EvaluateSpec, progress: Progress | None = None) -> Evaluated:
    """Evaluates a student and writes `out`; calls `progress(stage, done, total)` during each stage.

    On disk metrics.json is removed first and written last, so a folder that has it is complete. In an object store the
    folder is published all or nothing.

    Raises:
        StudentError: the student cannot be used.
        TeacherError: the teacher cannot be used.
        FeatureError: an extractor does not take their images.
        ImageSetError: the real images cannot be used.
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
    extractors = chosen_features(spec.features, teacher, weights=spec.weights, device=spec.device)
    check_images(spec, extractors)
    check_classes(spec.classes, teacher.conditions)
    shape = teacher.space.image_shape
    real = open_real(spec.real, extractors, shape, skip_bad=spec.skip_bad)
    # Computing takes minutes, so an unwritable `out` is reported before.
    _begin(spec.out)
    of_real = [
        None if real is None else real.features(extractor, shape, spec.references, partial(tell, "real images"))
        for extractor in extractors
    ]
    images = student_images(
        student,
        teacher,
        extractors,
        seed=spec.seed,
        samples=spec.samples,
        device=spec.device,
        progress=partial(tell, "student"),
    )
    curve, references = _references(spec, teacher, extractors, images, partial(tell, REFERENCE_STAGE))
    theirs = references[0].pictures if references else _pictures(teacher, curve, spec, partial(tell, REFERENCE_STAGE))
    submodules = Submodules(student.timesteps, teacher.space, spec.device, f"teacher@{solver.steps}", extractors)
    strips: Strips | None = None
    for part in all_strips(student, teacher, solver, spec, partial(tell, TRAJECTORIES_STAGE)):
        submodules.add(part)
        strips = strips or part.decoded(teacher.space, spec.device)
    assert strips is not None
    tell("metrics", 0, 1)
    cost = measure_cost(student, teacher, solver=cost_solver(teacher, curve), device=spec.device, threads=spec.threads)
    read = [
        read_as_asked(extractor, features, reference, teacher, images.numbers)
        for extractor, reference, features in zip(extractors, references, images.sets, strict=True)
    ]
    distances = tuple(
        measured_distances(extractor, reference, teacher, features, images.numbers, theirs_real, as_asked)
        for extractor, reference, features, as_asked, theirs_real in zip(
            extractors, references, images.sets, read, of_real, strict=True
        )
    )
    report = measured(spec, files, student, teacher, distances, submodules.scores(), solver, curve, cost, real)
    classes = _classes(teacher, references, images, submodules.squared_errors, best_reading(read))
    tell("metrics", 1, 1)
    pictures = render_pictures(report, images.pictures, theirs, strips)
    if of_real and of_real[0] is not None:
        pictures = replace(pictures, nearest=nearest_png(images.pictures, images.sets[0], of_real[0]))
    observations = read_observations(files.config.parent)
    if observations:
        light, dark = (training_png(observations, dark=dark) for dark in (False, True))
        pictures = replace(pictures, training=light, training_dark=dark)
    sentence = training_sentence(observations) if observations else ""
    told = "prompts" if isinstance(teacher.conditions, Prompts) else "classes"
    shown = chosen_classes(classes, spec.classes)
    page = render_report(report, pictures, sentence, _trajectories(spec.student), shown, told, len(classes))
    with workplace(spec.out) as folder:
        for optional in (TRAINING_PICTURE, CURVE_PICTURE, NEAREST_PICTURE, CLASSES):
            delete(str(folder / optional))
        for name, png in pictures.files().items():
            write_bytes(str(folder / name), png)
        if classes:
            write_bytes(str(folder / CLASSES), classes_json(classes).encode())
        write_bytes(str(folder / REPORT), page.encode())
        write_bytes(str(folder / METRICS), report.to_json().encode())
        publish(folder, spec.out)
    return Evaluated(report, images.pictures, theirs)


def _begin(out: str) -> None:
    """Checks that a report can be written; on disk, makes the old report incomplete."""
    if local_folder(out) is None:
        probe_folder(out)
        return
    delete(join(out, METRICS))
    write_bytes(join(out, PROBE), b"")
    delete(join(out, PROBE))


def _references(
    spec: EvaluateSpec,
    teacher: Teacher,
    extractors: Sequence[Extractor],
    images: StudentImages,
    progress: Callable[[int, int], None],
) -> tuple[Curve, tuple[Reference, ...]]:
    """Returns the curve and the references, of a target that is fine enough for this student.

    Its distance to half as many steps is to be less than a tenth of the student's, in the headline's features.
    """
    curve = curve_of(teacher)
    while True:
        references = references_for(
            teacher,
            extractors,
            root=spec.references,
            curve=curve,
            seed=spec.seed,
            samples=spec.samples,
            progress=progress,
        )
        if not references:
            return curve, ()
        student = frechet_distance(images.sets[0], references[0].target)
        next_one = finer(teacher, curve)
        if references[0].target_error < student * TARGET_SHARE or next_one is None:
            return curve, references
        curve = next_one


def _classes(
    teacher: Teacher,
    references: Sequence[Reference],
    images: StudentImages,
    errors: Tensor,
    read: Readings | None,
) -> tuple[ClassScores, ...]:
    """Returns the figures of every class or prompt, distances in the features of the headline."""
    features = None
    if references and images.sets[0].features is not None and references[0].target.features is not None:
        features = (images.sets[0].features, references[0].target.features)
    return class_scores(teacher.conditions, images.numbers, errors, read, features)


def _pictures(teacher: Teacher, curve: Curve, spec: EvaluateSpec, progress: Callable[[int, int], None]) -> Tensor:
    """The target's first images, where no reference has them: `[P, C, H, W]`."""
    states = teacher_trajectory(
        teacher,
        solver=curve.target,
        timesteps=clean_timesteps(teacher, curve.target),
        seed=spec.seed,
        rows=range(min(spec.samples, PICTURES)),
        root=spec.references,
        progress=progress,
    )
    return decoded(teacher.space, states[-1], spec.device)


def _silent(stage: str, done: int, total: int) -> None:
    """Shows no progress."""


def _trajectories(student: str) -> str:
    """Returns a permanent link to the store that a student was trained on, "" if its run is not beside it."""
    record = record_beside(student)
    return store_link(str(record["identity"]["store"])) if record else ""
