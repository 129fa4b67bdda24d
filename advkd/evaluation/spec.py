"""The settings of an evaluation, and its progress."""

from collections.abc import Callable
from dataclasses import dataclass

from advkd.evaluation.real import real_images
from advkd.evaluation.reference import SAMPLES
from advkd.features import AUTO, check_features, chosen_features
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
        references: root URI; teachers' curves and states are cached in references/ and trajectories/ below it.
        features: extractors that distances are measured in, names in `advkd.features.FEATURES` with commas between
            them, the headline's first; "auto": digits for the embedded teachers of digits, the teacher's own network
            for others that have one; "none": a report without distances.
        real: real images to compare with as well: "digits", or the URI of a folder of pictures; None: digits for the
            embedded teachers of digits, in the extractor of digits.
        samples: noises; at least 2000 for a worth that is reported.
        trajectory_samples: noises on which the submodules are compared with the teacher's states (at most `samples`).
        seed: base seed of the noises; no store can hold the same ones, whatever its seed.
        solver: kind of the deterministic solver behind the submodules' targets, as in the store; None: the first that
            passes through the student's timesteps, ddim before others. The teacher's own curve is that of ddim, or of
            this solver where ddim does not fit the teacher.
        solver_steps: the teacher's steps behind the submodules' targets, as in the store; None: the fewest from 20 on
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
    solver: str | None = None
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
        if self.solver is not None and not SolverSpec(kind=self.solver).deterministic:
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
        FeatureError: an extractor does not take the teacher's images.
        EvaluationError: the real images have another shape.
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
