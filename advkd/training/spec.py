"""How a student is trained: one frozen dataclass, clocked in samples seen."""

from dataclasses import dataclass, field

from advkd.discriminators import DiscriminatorSpec
from advkd.losses import ADVERSARIAL
from advkd.students import StudentSpec

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """A training run, apart from where its data and its output are.

    Attributes:
        student: shape of the student.
        discriminator: shape of the discriminator.
        samples: trajectories seen in all; the clock of every schedule.
        batch_size: trajectories per step.
        learning_rate: the student's peak, after a linear warm-up over `rise_samples`, then a cosine to zero.
        discriminator_learning_rate: the discriminator's, constant.
        rise_samples: samples over which the learning rate rises.
        warmup: share of `samples` with distillation alone, in [0, 1]; 1 never starts the adversarial phase.
        adversarial: kind of game: "relativistic", "non-saturating" or "hinge".
        adversarial_weight: norm of the adversarial gradient at the last submodule's weights, relative to the
            distillation gradient's.
        penalty_weight: weight of R1 + R2.
        penalty_every: steps between two penalties (each then counts as many times).
        submodule_weights: w_k per submodule in the distillation loss, from noisy to clean; None: 1 / gain_k, which makes
            every submodule's error one of clean images.
        ema_halflife: samples after which a weight counts half in the averaged student.
        precision: "float32", or "bfloat16" autocast.
        seed: of weights, order of samples and the submodules that are judged.
        window: shards among which samples are shuffled.
        device: "cpu" or "cuda".
        checkpoint_every: samples between two checkpoints.
        report_every: steps between two reports of the losses.
    """

    student: StudentSpec = field(default_factory=StudentSpec)
    discriminator: DiscriminatorSpec = field(default_factory=DiscriminatorSpec)
    samples: int = 100_000
    batch_size: int = 64
    learning_rate: float = 5e-3
    discriminator_learning_rate: float = 2e-4
    rise_samples: int = 6_400
    warmup: float = 0.4
    adversarial: str = "relativistic"
    adversarial_weight: float = 0.5
    penalty_weight: float = 0.05
    penalty_every: int = 4
    submodule_weights: tuple[float, ...] | None = None
    ema_halflife: float = 5_000.0
    precision: str = "float32"
    seed: int = 0
    window: int = 8
    device: str = "cpu"
    checkpoint_every: int = 20_000
    report_every: int = 10

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "penalty_every", "window", "checkpoint_every", "report_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainSpec.{name} must be positive, got {getattr(self, name)}; use at least 1")
        if self.samples < self.batch_size:
            raise ValueError(
                f"TrainSpec.samples must be at least batch_size ({self.batch_size}), got {self.samples}; see more samples"
            )
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(
                f"TrainSpec.warmup is a share of the run and must lie in [0, 1], got {self.warmup}; use 0.4"
            )
        if self.adversarial not in ADVERSARIAL:
            raise ValueError(
                f"TrainSpec.adversarial must be one of {sorted(ADVERSARIAL)}, got {self.adversarial!r}; choose one of them"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"TrainSpec.precision must be one of {PRECISIONS}, got {self.precision!r}; choose one of them")
        if self.learning_rate <= 0 or self.discriminator_learning_rate <= 0:
            raise ValueError("TrainSpec learning rates must be positive; use 5e-3 and 2e-4")

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.samples // self.batch_size
