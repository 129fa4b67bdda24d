"""A student against its teacher: the figures, the pictures and the page, written to one folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from advkd.device import torch_device
from advkd.diffusion import Start, implied_clean
from advkd.evaluation.cost import CostReport, measure_cost
from advkd.evaluation.distances import worth_steps
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.features import FeatureExtractor, features_for
from advkd.evaluation.pictures import TRAINING_PICTURE, Strips, render_pictures
from advkd.evaluation.reference import SAMPLES, TARGET_STEPS, Reference, real_set, reference_for
from advkd.evaluation.report import render_report
from advkd.evaluation.results import EvalReport, SubmoduleScores
from advkd.evaluation.scores import Metric, ReferenceSet, frechet_metric, score
from advkd.evaluation.teacher_states import EVALUATION_START, evaluation_start, solver_grid_for, teacher_trajectory
from advkd.evaluation.training_curves import read_observations, training_png, training_sentence
from advkd.files import file_sha256
from advkd.students import AnyStudent, load_student, student_files
from advkd.teachers import SolverSpec, Teacher, load_teacher
from advkd.text import store_link
from advkd.training import store_digest
from storage.objects import delete, join, write_bytes
from storage.records import check_seed

METRICS = "metrics.json"
REPORT = "report.html"
PROBE = "writable"
REFERENCE_STAGE, TRAJECTORIES_STAGE = "reference", "trajectories"
MIN_SAMPLES = 8
BATCH = 256
SCHEDULE_TOLERANCE = 1e-4
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    """One evaluation.

    Attributes:
        student: folder of a student (config.json and safetensors), or one with it as `student/` (a run, a version).
        teacher: embedded name, diffusers folder (or its s3:// URI) or hub id.
        out: URI of the folder for metrics.json, report.html and the pictures.
        references: root URI; teachers' curves and states are cached in references/ and trajectories/ below it.
        samples: noises; at least 2000 for a worth that is reported.
        trajectory_samples: noises on which the submodules are compared with the teacher's states (at most `samples`).
        seed: base seed of the noises; no store can hold the same ones, whatever its seed.
        solver: kind of the teacher's deterministic solver, by which it is sampled here.
        solver_steps: the teacher's steps behind the submodules' targets, as in the store; None: the fewest from 20 on
            that pass through the student's timesteps.
        device: "cpu" or "cuda".
        threads: of torch, while latency is measured.
    """

    student: str
    teacher: str = "digits"
    out: str
    references: str = "runs"
    samples: int = SAMPLES
    trajectory_samples: int = 256
    seed: int = 0
    solver: str = "ddim"
    solver_steps: int | None = None
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("samples", "trajectory_samples"):
            if getattr(self, name) < MIN_SAMPLES:
                raise ValueError(
                    f"EvaluateSpec.{name} must be at least {MIN_SAMPLES}, got {getattr(self, name)}; use {SAMPLES} for "
                    "a worth that is reported"
                )
        if not SolverSpec(kind=self.solver).deterministic:
            raise ValueError(
                f"EvaluateSpec.solver must be deterministic, so that both can be compared noise by noise, "
                f"got {self.solver!r}; use ddim"
            )
        if self.threads < 1:
            raise ValueError(f"EvaluateSpec.threads must be positive, got {self.threads}; use 1")


class TeacherPasses:
    """Progress that also counts the teacher's network passes: only where they are computed is progress told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` in a stage of `evaluate`."""
        if stage in (REFERENCE_STAGE, TRAJECTORIES_STAGE):
            self._done[stage] = done
        self._progress(stage, done, total)

    @property
    def total(self) -> int:
        """Images through the teacher's network so far."""
        return sum(self._done.values())


def evaluate(spec: EvaluateSpec, progress: Progress | None = None) -> EvalReport:
    """Evaluates and writes `out`; `progress(stage, done, total)` tells how far each stage is.

    metrics.json is removed first and written last, so a folder that has one is complete.

    Raises:
        StudentError: no usable student.
        TeacherError: no usable teacher.
        EvaluationError: student and teacher do not fit, there is no extractor for their images, or NaN in them.
        StoreError: `out` (found before anything is computed) or `references` cannot be written.
    """
    tell = progress or _silent
    student = load_student(spec.student).to(torch_device(spec.device))
    teacher = load_teacher(spec.teacher, spec.device)
    solver = check_pair(student, teacher, spec.solver, spec.solver_steps)
    extractor = features_for(teacher.space.image_shape)
    delete(join(spec.out, METRICS))
    # Computing takes minutes: that `out` cannot be written is said before.
    write_bytes(join(spec.out, PROBE), b"")
    delete(join(spec.out, PROBE))
    reference = reference_for(
        teacher,
        root=spec.references,
        solver=spec.solver,
        seed=spec.seed,
        samples=spec.samples,
        progress=partial(tell, REFERENCE_STAGE),
    )
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
    images = teacher.space.decode(student_samples(student, start, spec.device, partial(tell, "student")))
    strips = student_strips(student, start, trajectory, spec.device)
    tell("metrics", 0, 1)
    measured = SolverSpec(kind=spec.solver, steps=TARGET_STEPS)
    cost = measure_cost(student, teacher, solver=measured, device=spec.device, threads=spec.threads)
    report = _report(spec, student, teacher, extractor, reference, images, strips, solver.steps, cost)
    tell("metrics", 1, 1)
    pictures = render_pictures(
        report, images[: len(reference.pictures)], reference.pictures, strips.decoded(teacher.space)
    )
    observations = read_observations(student_files(spec.student).config.parent)
    if observations:
        light, dark = (training_png(observations, dark=dark) for dark in (False, True))
        pictures = replace(pictures, training=light, training_dark=dark)
    else:
        delete(join(spec.out, TRAINING_PICTURE))
    for name, png in pictures.files().items():
        write_bytes(join(spec.out, name), png)
    sentence = training_sentence(observations) if observations else ""
    write_bytes(join(spec.out, REPORT), render_report(report, pictures, sentence, _trajectories(spec.student)).encode())
    write_bytes(join(spec.out, METRICS), report.to_json().encode())
    return report


def check_pair(student: AnyStudent, teacher: Teacher, solver: str = "ddim", steps: int | None = None) -> SolverSpec:
    """The solver that passes through the student's timesteps; a pair that does not belong together is refused.

    Raises:
        EvaluationError: other shape, timesteps that are not on a solver's grid, or other noise levels.
    """
    if student.sample_shape != teacher.space.shape:
        raise EvaluationError(
            f"student and teacher must have states of one shape, got {_by(student.sample_shape)} from the student and "
            f"{_by(teacher.space.shape)} from teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    first = teacher.grid(SolverSpec(kind=solver, steps=steps or 1)).labels[0]
    if student.timesteps[0] != first:
        raise EvaluationError(
            f"a student must start where its teacher does, got timestep {student.timesteps[0]} where teacher "
            f"{teacher.name!r} starts at {first}; give the teacher that it was trained from"
        )
    found, grid = solver_grid_for(teacher, solver, student.timesteps, steps)
    theirs = list(grid.sigma)
    ours = list(student.config["sigma"])
    if max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) > SCHEDULE_TOLERANCE:
        raise EvaluationError(
            f"student and teacher must have one noise schedule, got sigma {_rounded(ours)} in the student and "
            f"{_rounded(theirs)} in teacher {teacher.name!r}; give the teacher that it was trained from"
        )
    return found


@torch.no_grad()
def student_samples(student: AnyStudent, start: Start, device: str, progress: Callable[[int, int], None]) -> Tensor:
    """The student's clean states of the evaluation's starts, one pass each: float32 `[N, C, H, W]` on the CPU.

    Raises:
        EvaluationError: NaN or infinity in them.
    """
    batches: list[Tensor] = []
    for part in start.split(BATCH):
        moved = part.to(device)
        batches.append(student(moved.noise, **moved.condition).float().cpu().contiguous())
        progress(min(len(start), len(batches) * BATCH), len(start))
    return _finite(torch.cat(batches))


@torch.no_grad()
def student_strips(student: AnyStudent, start: Start, trajectory: Tensor, device: str) -> Strips:
    """States and the clean images that they imply, on the first N starts, whose teacher's trajectory is given.

    The trajectory is `[K + 1, N, C, H, W]`, its first state the noise.

    A submodule that works at a coarser side is compared at that side: means over boxes, enlarged to the image again.
    """
    noise = trajectory[0]
    parts = [part.to(device) for part in next(start.split(len(noise))).split(BATCH)]
    batches = [student.predictions(part.noise, **part.condition) for part in parts]
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


def _report(
    spec: EvaluateSpec,
    student: AnyStudent,
    teacher: Teacher,
    extractor: FeatureExtractor,
    reference: Reference,
    images: Tensor,
    strips: Strips,
    solver_steps: int,
    cost: CostReport,
) -> EvalReport:
    files = student_files(spec.student)
    features = extractor(images)
    to_teacher = score(features, reference.teacher_set, extractor)
    real = real_set(teacher.space.image_shape, extractor)
    return EvalReport(
        student_sha256=file_sha256(files.weights),
        student_config_digest=config_digest(files.config),
        sample_shape=teacher.space.image_shape,
        timesteps=student.timesteps,
        teacher=teacher.name,
        teacher_fingerprint=teacher.fingerprint,
        solver_steps=solver_steps,
        reference_digest=reference.digest,
        seed=spec.seed,
        first_index=EVALUATION_START,
        samples=spec.samples,
        worth=worth_steps(reference.curve, to_teacher.fd.value),
        to_teacher=to_teacher,
        to_real=None if real is None else score(features, real, extractor),
        curve=reference.points,
        submodules=_submodules(strips, strips.decoded(teacher.space), f"teacher@{solver_steps}", extractor),
        cost=cost,
    )


def _submodules(
    strips: Strips, decoded: Strips, teacher: str, extractor: FeatureExtractor
) -> tuple[SubmoduleScores, ...]:
    """Distances between images, errors between states."""
    found = []
    for k, timestep in enumerate(strips.timesteps[1:]):
        theirs, ours = strips.teacher_states[k], strips.student_states[k]
        their_clean, our_clean = strips.teacher_clean[k], strips.student_clean[k]
        states = ReferenceSet(f"{teacher}, state at {timestep}", extractor(decoded.teacher_states[k]))
        clean = ReferenceSet(f"{teacher}, clean estimate at {timestep}", extractor(decoded.teacher_clean[k]))
        found.append(
            SubmoduleScores(
                timestep=timestep,
                fd_state=frechet_metric(extractor(decoded.student_states[k]), states, extractor),
                fd_clean=frechet_metric(extractor(decoded.student_clean[k]), clean, extractor),
                rmse_state=_rmse(ours, theirs, states.name),
                rmse_clean=_rmse(our_clean, their_clean, clean.name),
            )
        )
    return tuple(found)


def _rmse(ours: Tensor, theirs: Tensor, reference: str) -> Metric:
    value = (ours.double() - theirs.double()).square().mean().sqrt().item()
    return Metric(
        name="paired RMSE",
        value=value,
        n_fake=len(ours),
        n_ref=len(theirs),
        reference=reference,
        extractor="pixels",
        extractor_sha256="",
    )


def config_digest(path: Path) -> str:
    """sha256 of a student's config, without diffusers' own keys."""
    config = {key: value for key, value in json.loads(path.read_text()).items() if not key.startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _finite(samples: Tensor) -> Tensor:
    if not bool(torch.isfinite(samples).all()):
        raise EvaluationError(
            "a student's output must be finite, got NaN or infinity; its training diverged: evaluate an earlier "
            "checkpoint or train again with a lower learning rate"
        )
    return samples


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _silent(stage: str, done: int, total: int) -> None:
    """No progress is shown."""


def _trajectories(student: str) -> str:
    """Permanent link to the store that a student was trained on, "" where its run is not beside it."""
    digest = store_digest(student_files(student).config.parent.parent)
    return store_link(digest) if digest else ""
