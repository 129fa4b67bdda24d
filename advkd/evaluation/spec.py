"""The settings of an evaluation, and its progress."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.real import open_real
from advkd.evaluation.reference import SAMPLES
from advkd.evaluation.results import COMPARABLE_SAMPLES
from advkd.features import AUTO, Extractor, check_features, chosen_features
from advkd.files import refuse_credentials
from advkd.teachers import SolverSpec, Teacher
from storage.records import check_seed, make_plain

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
            for any other; "none": a report without distances.
        weights: weights of an extractor that looks for some: a file, a folder or a hub id; None: its usual place.
        real: real images to compare with as well: the URI of a folder or zip of pictures, of tars, of Parquet files or
            of an npz of statistics, or "digits" (scikit-learn's); None: no set.
        skip_bad: leave out real pictures that cannot be read instead of refusing the set; the report counts them.
        samples: noises; at least 2000 for a worth that is reported.
        trajectory_samples: noises on which the submodules are compared with the teacher's states (at most `samples`).
        seed: base seed of the noises; no store can hold the same ones, whatever its seed.
        classes: numbers or names of classes that the report shows one by one; empty: those farthest from the teacher.
        solver: kind of the deterministic solver behind the submodules' targets, as in the store; None: the first that
            passes through the student's timesteps, ddim before others.
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
    weights: str | None = None
    real: str | None = None
    skip_bad: bool = False
    classes: tuple[str, ...] = ()
    samples: int = SAMPLES
    trajectory_samples: int = 256
    seed: int = 0
    solver: str | None = None
    solver_steps: int | None = None
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        check_seed(self.seed)
        check_features(self.features)
        for uri in (self.student, self.out, self.references, self.real or "", self.weights or ""):
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


def protocols(spec: EvaluateSpec, teacher: Teacher) -> list[tuple[str, str, str]]:
    """Returns what distances depend on: each extractor's name and sha256, and the sha256 of the real images or "".

    Raises:
        ValueError: an extractor is unknown.
        FeatureError: an extractor does not take the teacher's images.
        EvaluationError: there are fewer images than an extractor's features need.
        ImageSetError: the real images cannot be used.
        StoreError: the real images cannot be read.
    """
    extractors = chosen_features(spec.features, teacher, weights=spec.weights, device=spec.device)
    check_images(spec, extractors)
    real = open_real(spec.real, extractors, teacher.space.image_shape, skip_bad=spec.skip_bad)
    return [(extractor.name, extractor.sha256, "" if real is None else real.sha256) for extractor in extractors]


def check_images(spec: EvaluateSpec, extractors: Sequence[Extractor]) -> None:
    """Refuses a headline in features of more dimensions than there are images.

    Raises:
        EvaluationError: the covariance of an extractor's features would not have full rank.
    """
    for extractor in extractors:
        # To know its dimensions, the teacher's own extractor passes an image through its network.
        if spec.samples > getattr(extractor, "most_dims", spec.samples):
            continue
        if COMPARABLE_SAMPLES <= spec.samples <= extractor.dims:
            raise EvaluationError(
                f"a Frechet distance needs more images than its features have dimensions, got {spec.samples} for "
                f"{extractor.dims} of {extractor.name!r}; evaluate {5 * extractor.dims} images or more "
                "(EvaluateSpec.samples, --samples), or choose another extractor"
            )


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
