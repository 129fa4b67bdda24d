"""The order of the samples: pure functions of (seed, epoch, rank), so a resumed run computes its order again.

An epoch arranges the shards in a random order, and cuts the sequence of their samples into one contiguous part per
rank. So parts are disjoint, their lengths differ by one sample at most, and each rank reads about its own share of the
shards. A rank reads its part in windows of several shards, and shuffles the samples within each window.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SHARD_ORDER, _WINDOW_ORDER = 0, 1


@dataclass(frozen=True)
class RowRange:
    """Consecutive samples of one shard: rows `start` to `stop - 1`."""

    shard: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def part_bounds(num_samples: int, rank: int, world_size: int) -> tuple[int, int]:
    """Returns start and stop of a rank's part of `num_samples` samples in a row."""
    return num_samples * rank // world_size, num_samples * (rank + 1) // world_size


def batches_per_epoch(num_samples: int, batch_size: int, rank: int, world_size: int, *, drop_last: bool) -> int:
    """Returns the number of batches that a rank gets; with `drop_last` it is the same for every rank."""
    if drop_last:
        return num_samples // world_size // batch_size
    start, stop = part_bounds(num_samples, rank, world_size)
    return -(-(stop - start) // batch_size)


def epoch_windows(
    num_samples: int, shard_samples: int, *, seed: int, epoch: int, rank: int, world_size: int, window: int
) -> Iterator[list[RowRange]]:
    """Yields the windows that a rank reads in an epoch, in order: each has at most `window` pieces, one per shard.

    Needs 24 bytes per shard of the store; the pieces of a window are made when it is yielded.

    Args:
        num_samples: samples of the store.
        shard_samples: samples of every shard but the last, which holds the rest.
        seed: seed of the order.
        epoch: number of the epoch.
        rank: the rank.
        world_size: number of ranks.
        window: shards of one window.
    """
    shards = -(-num_samples // shard_samples)
    order = _generator(seed, epoch, _SHARD_ORDER, 0).permutation(shards)
    sizes = np.full(shards, shard_samples, dtype=np.int64)
    sizes[order == shards - 1] -= shards * shard_samples - num_samples
    ends = np.cumsum(sizes)
    start, stop = part_bounds(num_samples, rank, world_size)
    first, last = np.searchsorted(ends, start, side="right"), np.searchsorted(ends - sizes, stop, side="left")
    for position in range(int(first), int(last), window):
        yield [
            RowRange(int(order[i]), max(start - begins, 0), min(stop, int(ends[i])) - begins)
            for i in range(position, min(position + window, int(last)))
            if (begins := int(ends[i] - sizes[i])) < stop
        ]


def window_order(num_samples: int, *, seed: int, epoch: int, rank: int, window_index: int) -> npt.NDArray[np.int64]:
    """Returns the order of the samples within one window of a rank: a permutation of `num_samples`, int64."""
    return _generator(seed, epoch, _WINDOW_ORDER, rank, window_index).permutation(num_samples)


def _generator(seed: int, epoch: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, *stream])))
