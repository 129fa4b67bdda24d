"""What describes every training run, whichever method it trains by: one frozen dataclass, clocked in samples seen."""

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from advkd.device import computes_bfloat16
from storage.reading import CACHES

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A training run, apart from its method and from where its data and its output are.

    Attributes:
        method: name of the row in `advkd.training.METHODS`, which says what else the run's spec has.
        timesteps: states of the store to train on, from noisy to clean, one per submodule; None: all of them. The noise
            and the clean state are added where they are left out.
        trajectories: train on so many of the store alone, the first ones; None: all that it has.
        samples: trajectories seen in all; the clock of every schedule.
        batch_size: trajectories per step, over all processes.
        accumulate: equal parts in which a process computes its share of a batch, one after the other, where memory is
            short.
        ema_halflife: samples after which a weight counts half in the averaged student; 0: no average.
        precision: "float32", "bfloat16" autocast, or "auto": bfloat16 on devices that compute in it, float32 elsewhere,
            where it is several times slower.
        seed: of weights, order of samples and whatever else a method draws.
        window: shards among which samples are shuffled.
        cache: "none", "memory" or "disk": where the store's objects are kept once they were read; for stores in S3.
        threads: CPU threads of torch; sums depend on it, so it is part of what is resumed. One is also the safe choice
            on shared cores, where two threads that wait for each other can be several times slower than one.
        device: "cpu" or "cuda".
        checkpoint_every: samples between two checkpoints.
        report_every: steps between two reports of the losses.
        monitor_every: samples between two observations of the networks (`advkd.training.monitors`), by which a run that
            goes wrong is stopped; with more than `samples` there is one alone, at the end.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    """From JSON and from a form: a key that the spec does not have is refused, in the parts of it too."""

    method: str
    timesteps: tuple[int, ...] | None = None
    trajectories: int | None = None
    samples: int = 100_000
    batch_size: int = 64
    accumulate: int = 1
    ema_halflife: float = 5_000.0
    precision: str = "float32"
    seed: int = 0
    window: int = 8
    cache: str = "none"
    threads: int = 1
    device: str = "cpu"
    checkpoint_every: int = 20_000
    report_every: int = 10
    monitor_every: int = 5_000

    def __post_init__(self) -> None:
        kind = type(self).__name__
        intervals = ("checkpoint_every", "report_every", "monitor_every")
        for name in ("samples", "batch_size", "accumulate", "threads", "window", *intervals):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{kind}.{name} must be a positive whole number, got {value!r}; use at least 1")
        if self.trajectories is not None and (not isinstance(self.trajectories, int) or self.trajectories < 1):
            raise ValueError(
                f"{kind}.trajectories must be a positive whole number, got {self.trajectories!r}; leave it out for all"
            )
        if self.samples < self.batch_size:
            raise ValueError(
                f"{kind}.samples must be at least batch_size ({self.batch_size}), got {self.samples}; see more samples"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"{kind}.accumulate must divide batch_size ({self.batch_size}), got {self.accumulate}; choose a divisor"
            )
        for name, allowed in (("cache", CACHES), ("precision", PRECISIONS)):
            check_choice(f"{kind}.{name}", getattr(self, name), allowed)
        check_not_negative(f"{kind}.ema_halflife", self.ema_halflife)

    @property
    def computed_precision(self) -> str:
        """What `precision` means on the run's device: "float32" or "bfloat16"."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if computes_bfloat16(self.device) else "float32"

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.samples // self.batch_size


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a value that is none of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}; choose one of them")


def check_positive(name: str, value: float) -> None:
    """Refuses what is no positive, finite number."""
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}; leave it out for the default")


def check_not_negative(name: str, value: float) -> None:
    """Refuses what is negative, infinite or no number."""
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value}; leave it out for the default")
