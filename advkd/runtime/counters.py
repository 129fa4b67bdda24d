"""Counters of a stage of a distillation, for the summary and for MLflow."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageCounters:
    """Counters of one stage of one run. Results that an earlier run left count only by the seconds of finding them.

    Attributes:
        passes: passes of the teacher's network, one per image and solver step, without those that only measure time.
        samples: trajectories computed (precompute) or trained on (train), or images evaluated (evaluate).
        bytes_read: stored bytes of the trajectories that were trained on, or of the student and report that were read.
        bytes_written: bytes of the shards, student, report or artifact that the stage made.
        seconds: wall time, including the time spent waiting for other runs.
    """

    passes: int = 0
    samples: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
