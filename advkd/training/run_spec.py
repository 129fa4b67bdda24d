"""The settings that all training methods share: one frozen dataclass, clocked in samples seen."""

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from advkd.device import computes_bfloat16
from storage.reading import CACHES
from storage.records import make_plain

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Settings of a training run, except its method's own, and except the places of its data and output.

    Attributes:
        method: name in `advkd.training.METHODS`, which decides the spec's other fields.
        timesteps: timesteps of the stored states to train on, from noisy to clean, one per submodule; None: all. The
            noise and the clean state are added if they are missing.
        trajectories: number of trajectories of the store to train on, from the first one on; None: all.
        samples: total number of trajectories seen; the clock of every schedule.
        batch_size: trajectories per step, over all processes.
        mirror: mirror each trajectory left to right with probability 1/2 whenever it is seen, for teachers whose
            training images were mirrored (`advkd.training.mirroring`); classes, if only some were.
        accumulate: number of equal parts in which a process computes its share of a batch, one after the other, to save
            memory.
        ema_halflife: number of samples after which a weight counts half in the averaged student; 0: no average.
        precision: "float32", "bfloat16" autocast, or "auto": bfloat16 on devices that compute in it, float32 on others,
            where bfloat16 is several times slower.
        seed: seed of weights, order of samples and everything else that a method draws.
        window: number of shards among which samples are shuffled.
        cache: "none", "memory" or "disk": where the store's objects are kept after their first read; for stores in S3.
        threads: number of CPU threads of torch. Sums depend on it, so a resumed run must have the same number. One
            thread is the safe choice on shared cores, where two that wait for each other can be several times slower.
        device: "cpu" or "cuda".
        checkpoint_every: number of samples between two checkpoints.
        report_every: number of steps between two reports of the losses.
        monitor_every: number of samples between two observations of the networks (`advkd.training.monitors`), which
            stop a run that goes wrong; if larger than `samples`, there is a single observation at the end.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    """In JSON and in forms, unknown keys are refused, also in nested parts."""

    method: str
    timesteps: tuple[int, ...] | None = None
    trajectories: int | None = None
    samples: int = 100_000
    batch_size: int = 64
    mirror: bool | tuple[int, ...] = False
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
        make_plain(self)
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
        if not isinstance(self.mirror, bool) and not (
            isinstance(self.mirror, tuple) and self.mirror and all(type(label) is int for label in self.mirror)
        ):
            raise ValueError(
                f"{kind}.mirror must be true, false or whole numbers of classes, got {self.mirror!r}; say one of them"
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
        """The precision on the run's device: "float32" or "bfloat16"."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if computes_bfloat16(self.device) else "float32"

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the whole run."""
        return self.samples // self.batch_size


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises `ValueError` unless the value is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}; choose one of them")


def check_positive(name: str, value: float) -> None:
    """Raises `ValueError` unless the value is positive and finite."""
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}; leave it out for the default")


def check_not_negative(name: str, value: float) -> None:
    """Raises `ValueError` if the value is negative, infinite or NaN."""
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value}; leave it out for the default")
