"""How a layerwise student is trained: by distillation, then against a discriminator as well."""

from dataclasses import dataclass, field
from typing import Literal

from advkd.discriminators import DISCRIMINATORS, DiscriminatorSpec
from advkd.losses import ADVERSARIAL
from advkd.students import STUDENTS, StudentSpec
from advkd.training.run_spec import RunSpec, check_not_negative, check_positive


@dataclass(frozen=True, kw_only=True)
class TrainSpec(RunSpec):
    """Our recipe (`docs/recipe.md`).

    Attributes:
        method: "layerwise", the row of this dataclass.
        student: shape of the student.
        discriminator: shape of the discriminator.
        learning_rate: the student's peak in Muon, after a linear warm-up over `rise_samples`, then a cosine to zero.
        weight_decay: of the student's kernels, times the learning rate, in every update.
        discriminator_learning_rate: the discriminator's, constant.
        rise_samples: samples over which the learning rate rises.
        warmup: share of `samples` with distillation alone, in [0, 1]; 1 never starts the adversarial phase.
        adversarial: kind of game, a name in `advkd.losses.ADVERSARIAL`: "relativistic", "non-saturating", "hinge" or
            "wgan".
        adversarial_weight: norm of the adversarial gradient at the last submodule's weights, relative to the
            distillation gradient's.
        adversarial_limit: upper bound of the factor that makes them so: a discriminator at chance has a tiny gradient,
            and balancing it would amplify noise.
        penalty_weight: weight of R1 + R2.
        penalty_every: steps between two penalties (each then counts as many times).
        submodule_weights: w_k per submodule in the distillation loss, from noisy to clean; None: 1 / gain_k, which
            makes every submodule's error one of clean images.
    """

    method: Literal["layerwise"] = "layerwise"
    student: StudentSpec = field(default_factory=StudentSpec)
    discriminator: DiscriminatorSpec = field(default_factory=DiscriminatorSpec)
    learning_rate: float = 1e-2
    weight_decay: float = 0.1
    discriminator_learning_rate: float = 2e-4
    rise_samples: int = 6_400
    warmup: float = 0.4
    adversarial: str = "relativistic"
    adversarial_weight: float = 0.5
    adversarial_limit: float = 0.2
    penalty_weight: float = 0.05
    penalty_every: int = 4
    submodule_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.penalty_every, int) or self.penalty_every < 1:
            raise ValueError(
                f"TrainSpec.penalty_every must be a positive whole number, got {self.penalty_every!r}; use at least 1"
            )
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(
                f"TrainSpec.warmup is a share of the run and must lie in [0, 1], got {self.warmup}; use 0.4"
            )
        DISCRIMINATORS.choose(self.discriminator.kind, "TrainSpec.discriminator.kind")
        ADVERSARIAL.choose(self.adversarial, "TrainSpec.adversarial")
        STUDENTS.choose(self.student.kind, "TrainSpec.student.kind")
        for name in ("learning_rate", "discriminator_learning_rate"):
            check_positive(f"TrainSpec.{name}", getattr(self, name))
        for name in ("weight_decay", "adversarial_weight", "adversarial_limit", "penalty_weight", "rise_samples"):
            check_not_negative(f"TrainSpec.{name}", getattr(self, name))
        for k, weight in enumerate(self.submodule_weights or ()):
            check_not_negative(f"TrainSpec.submodule_weights[{k}]", weight)
