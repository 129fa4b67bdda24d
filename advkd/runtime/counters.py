"""What a stage of a distillation did and moved, as counts: for the summary and for MLflow."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageCounters:
    """One stage of one run. What it found done and kept counts as nothing, apart from the seconds of finding it.

    Attributes:
        passes: images through the teacher's network, one per image and solver step; not those that only time it.
        samples: trajectories computed (precompute) or trained on (train), images judged (evaluate).
        bytes_read: of the trajectories that were trained on, as stored; of the student and report that were taken up.
        bytes_written: of the shards, the student, the report or the artifact that was made.
        seconds: wall time, waiting for other runs included.
    """

    passes: int = 0
    samples: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
