"""How a student is trained: one frozen dataclass, clocked in samples seen."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from advkd.discriminators import DiscriminatorSpec
from advkd.losses import ADVERSARIAL
from advkd.students import StudentSpec
from storage.object_source import CACHES

PRECISIONS = ("float32", "bfloat16")
_Part = TypeVar("_Part")


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
        adversarial_limit: upper bound of the factor that makes them so: a discriminator at chance has a tiny gradient,
            and balancing it would amplify noise.
        penalty_weight: weight of R1 + R2.
        penalty_every: steps between two penalties (each then counts as many times).
        submodule_weights: w_k per submodule in the distillation loss, from noisy to clean; None: 1 / gain_k, which
            makes every submodule's error one of clean images.
        ema_halflife: samples after which a weight counts half in the averaged student.
        precision: "float32", or "bfloat16" autocast.
        seed: of weights, order of samples and the submodules that are judged.
        window: shards among which samples are shuffled.
        cache: "none", "memory" or "disk": where the store's objects are kept once they were read; for stores in S3.
        threads: CPU threads of torch; sums depend on it, so it is part of what is resumed. One is also the safe choice
            on shared cores, where two threads that wait for each other can be several times slower than one.
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
    adversarial_limit: float = 0.2
    penalty_weight: float = 0.05
    penalty_every: int = 4
    submodule_weights: tuple[float, ...] | None = None
    ema_halflife: float = 5_000.0
    precision: str = "float32"
    seed: int = 0
    window: int = 8
    cache: str = "none"
    threads: int = 1
    device: str = "cpu"
    checkpoint_every: int = 20_000
    report_every: int = 10

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "penalty_every", "threads", "window", "checkpoint_every", "report_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"TrainSpec.{name} must be a positive whole number, got {value!r}; use at least 1")
        if self.samples < self.batch_size:
            raise ValueError(
                f"TrainSpec.samples must be at least batch_size ({self.batch_size}), got {self.samples}; see more "
                "samples"
            )
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(
                f"TrainSpec.warmup is a share of the run and must lie in [0, 1], got {self.warmup}; use 0.4"
            )
        if self.adversarial not in ADVERSARIAL:
            raise ValueError(
                f"TrainSpec.adversarial must be one of {sorted(ADVERSARIAL)}, got {self.adversarial!r}; choose one of "
                "them"
            )
        if self.cache not in CACHES:
            raise ValueError(f"TrainSpec.cache must be one of {CACHES}, got {self.cache!r}; choose one of them")
        if self.precision not in PRECISIONS:
            raise ValueError(f"TrainSpec.precision must be one of {PRECISIONS}, got {self.precision!r}; choose one")
        for name in ("learning_rate", "discriminator_learning_rate"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"TrainSpec.{name} must be positive and finite, got {getattr(self, name)}; leave it out for the "
                    "default"
                )
        others = ("adversarial_weight", "adversarial_limit", "penalty_weight", "ema_halflife", "rise_samples")
        numbers = {name: getattr(self, name) for name in others}
        numbers |= {f"submodule_weights[{k}]": weight for k, weight in enumerate(self.submodule_weights or ())}
        for name, value in numbers.items():
            if not 0.0 <= value < math.inf:
                raise ValueError(f"TrainSpec.{name} must be finite and not negative, got {value}; leave it out")

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.samples // self.batch_size


def train_spec_from_json(data: object) -> TrainSpec:
    """The `TrainSpec` whose `dataclasses.asdict` went through JSON; fields left out keep their defaults.

    Raises:
        ValueError: unknown keys, or values that break a rule.
    """
    found = _known("TrainSpec", TrainSpec, data)
    parts = {"student": StudentSpec, "discriminator": DiscriminatorSpec}
    for name, part in parts.items():
        if name in found:
            found[name] = _built(part, _known(f"TrainSpec.{name}", part, found[name]))
    if isinstance(found.get("submodule_weights"), list):
        found["submodule_weights"] = tuple(found["submodule_weights"])
    return _built(TrainSpec, found)


def _built(part: type[_Part], values: dict[str, Any]) -> _Part:
    try:
        return part(**values)
    except TypeError as error:
        raise ValueError(f"{part.__name__} must have values of its fields' types, got {values} ({error})") from error


def _known(owner: str, part: type, data: object) -> dict[str, Any]:
    names = {one.name for one in fields(part)}
    if not isinstance(data, dict) or not data.keys() <= names:
        unknown = sorted(data.keys() - names) if isinstance(data, dict) else data
        raise ValueError(f"{owner} must be an object with keys among {sorted(names)}, got {unknown!r}; correct them")
    return dict(data)
