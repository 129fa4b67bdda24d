"""The settings of an evaluation, and its progress."""

from collections.abc import Callable
from dataclasses import dataclass

from advkd.evaluation.features import AUTO, check_features, chosen_features
from advkd.evaluation.real import real_images
from advkd.evaluation.reference import SAMPLES
from advkd.files import refuse_credentials
from advkd.teachers import SolverSpec, Teacher
from storage.records import check_seed

REFERENCE_STAGE, TRAJECTORIES_STAGE = "reference", "trajectories"
MIN_SAMPLES = 8
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    """Settings of an evaluation.

    Attributes:
        student: folder or URI of a student (config.json and safetensors), or of a run or version that holds it as
            `student/`.
        teacher: name of an embedded teacher, diffusers folder (or its s3:// URI), or hub id.
        out: URI of the folder for metrics.json, report.html and the pictures.
        references: root URI of the cache; curves and states of teachers lie in references/ and trajectories/ below it.
        features: names in `advkd.evaluation.FEATURES` of the extractors in whose features distances are measured, with
            commas between them, that of the headline first; "auto": digits for the embedded teachers of digits, none
            for others; "none": a report without distances.
        real: real images to compare with: "digits", or the URI of a folder of pictures; None: digits for the embedded
            teachers of digits, in the extractor of digits.
        samples: number of noises; a worth is reported from 2000 on.
        trajectory_samples: number of noises on which the submodules are compared with the teacher's states, at most
            `samples`.
        seed: base seed of the noises; no store can hold the same noises.
        solver: kind of the deterministic solver with which the teacher is sampled.
        solver_steps: number of solver steps for the submodules' targets, as in the store; None: the fewest from 20 on
            that pass through the student's timesteps.
        device: "cpu" or "cuda".
        threads: number of torch's threads while latency is measured.
    """

    student: str
    teacher: str = "digits"
    out: str
    references: str = "runs"
    features: str = AUTO
    real: str | None = None
    samples: int = SAMPLES
    trajectory_samples: int = 256
    seed: int = 0
    solver: str = "ddim"
    solver_steps: int | None = None
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_features(self.features)
        for uri in (self.student, self.out, self.references, self.real or ""):
            refuse_credentials(uri)
        for name in ("samples", "trajectory_samples"):
            if getattr(self, name) < MIN_SAMPLES:
                raise ValueError(
                    f"EvaluateSpec.{name} must be at least {MIN_SAMPLES}, got {getattr(self, name)}; use {SAMPLES} for "
                    "a worth that is reported"
                )
        if not SolverSpec(kind=self.solver).deterministic:
            raise ValueError(
                "EvaluateSpec.solver must be deterministic, so that both can be compared noise by noise, got "
                f"{self.solver!r}; use ddim"
            )
        if self.threads < 1:
            raise ValueError(f"EvaluateSpec.threads must be positive, got {self.threads}; use 1")


def protocols(features: str, real: str | None, teacher: Teacher) -> list[tuple[str, str, str]]:
    """Returns what distances depend on: each extractor's name and sha256, and the sha256 of its real images or "".

    Raises:
        ValueError: an extractor is unknown.
        EvaluationError: an extractor does not take the teacher's images, or the real images have another shape.
        StoreError: the real images cannot be read.
    """
    measures = []
    for extractor in chosen_features(features, teacher):
        images = real_images(real, extractor, teacher)
        measures.append((extractor.name, extractor.sha256, "" if images is None else images.sha256))
    return measures


class TeacherPasses:
    """Passes progress on, and counts the teacher's network passes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Reports `done` of `total` in a stage of `evaluate`."""
        if stage in (REFERENCE_STAGE, TRAJECTORIES_STAGE):
            self._done[stage] = done
        self._progress(stage, done, total)

    @property
    def total(self) -> int:
        """Number of images that have passed through the teacher's network so far."""
        return sum(self._done.values())
