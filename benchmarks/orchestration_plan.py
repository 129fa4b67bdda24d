"""From constants that were measured to how long a cache takes with so many workers, and what holds it up first.

Four things take time, and the slowest of them decides: computing, which is shared by the workers; the server, which
records a task per shard; S3, which answers so many requests; and one process that seals in the end.
"""

import math
from dataclasses import dataclass

WORKERS = (1, 8, 64, 512)
TRAJECTORIES = (10**6, 10**8)
SHARD_SAMPLES = 512
"""The most that `precompute` puts into a shard by itself."""
S3_REQUESTS_PER_SECOND = 3500.0
"""Amazon's own figure for PUT, per prefix; not measured here."""


@dataclass(frozen=True)
class Constants:
    """What was measured."""

    compute_seconds: float
    """CPU seconds per trajectory."""
    tasks_per_second: float
    """That the server takes."""
    requests_per_shard: float
    """Of S3, sealing included."""
    sealing_seconds: float
    """Per shard."""


@dataclass(frozen=True)
class Point:
    """One plan: seconds of each of what takes time, the slowest first."""

    workers: int
    trajectories: int
    seconds: tuple[tuple[str, float], ...]

    @property
    def bottleneck(self) -> str:
        """What takes longest."""
        return self.seconds[0][0]

    @property
    def total(self) -> float:
        """All in all: sealing comes after the rest, which goes on at the same time."""
        found = dict(self.seconds)
        return max(seconds for name, seconds in self.seconds if name != "sealing") + found["sealing"]

    @property
    def remedy(self) -> str:
        """What to change."""
        shards = math.ceil(self.trajectories / SHARD_SAMPLES)
        if self.bottleneck == "compute":
            if shards < 8 * self.workers:
                return f"smaller shards: {shards} for {self.workers} workers leave some idle in the last round"
            return "more or faster workers"
        return {
            "server": "larger shards (`shard_samples`), so fewer tasks; PostgreSQL",
            "S3": "larger shards; several prefixes",
            "sealing": "larger shards",
        }[self.bottleneck]


def points(constants: Constants, speed: float = 1.0) -> list[Point]:
    """All plans, with workers that are `speed` times as fast as the measured core."""
    return [_point(constants, workers, wanted, speed) for wanted in TRAJECTORIES for workers in WORKERS]


def _point(constants: Constants, workers: int, trajectories: int, speed: float) -> Point:
    shards = math.ceil(trajectories / SHARD_SAMPLES)
    # One flow run whose tasks are spread over the workers: a task per shard.
    seconds = {
        "compute": math.ceil(shards / workers) * SHARD_SAMPLES * constants.compute_seconds / speed,
        "server": shards / constants.tasks_per_second,
        "S3": shards * constants.requests_per_shard / S3_REQUESTS_PER_SECOND,
        "sealing": shards * constants.sealing_seconds,
    }
    ordered = tuple(sorted(seconds.items(), key=lambda item: -item[1]))
    return Point(workers, trajectories, ordered)
