"""Sorts samples: by a statistic, or by the distance to a student or another store.

Sorting a store of 10^8 samples would mean reading it. So a subset is sorted, and every answer names it: all samples of
a small store, else whole blocks drawn at random with a seed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.comparing import Side, differences
from advkd.browse.store_view import Looked, StoreSnapshot
from advkd.browse.students import norm
from storage import States

MOST_SAMPLES = 4096
MOST_STUDENT_SAMPLES = 512
MOST_BYTES = 64 * 2**20
_AT_ONCE = 256
_VALUES_AT_ONCE = 2**22
_AHEAD = ThreadPoolExecutor(12, thread_name_prefix="advkd-ahead")
Values = npt.NDArray[np.float64]


def _flat(states: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return states.astype(np.float64).reshape(len(states), -1)


STATISTICS: dict[str, Callable[[npt.NDArray[Any]], Values]] = {
    "norm": norm,
    "brightness": lambda states: _flat(states).mean(axis=1),
    "contrast": lambda states: _flat(states).std(axis=1),
}


@dataclass(frozen=True)
class Subset:
    """A subset of a store's samples."""

    samples: npt.NDArray[np.int64]
    what: str
    """Description of the subset, for people."""
    whole: bool
    """Whether the subset holds all samples."""


@dataclass(frozen=True)
class SortedSamples(Subset):
    """Samples in order, the values by which they were sorted, and the subset."""

    values: Values
    unreadable: int
    """Number of samples of the subset that could not be read and are left out."""

    @property
    def held_bytes(self) -> int:
        """Bytes that the cache counts for this order."""
        return self.samples.nbytes + self.values.nbytes

    def to_json(self) -> dict[str, Any]:
        """Returns the order as plain JSON, for pages."""
        return {
            "samples": self.samples.tolist(),
            "values": [round(value, 5) for value in self.values.tolist()],
            "what": self.what,
            "whole": self.whole,
            "unreadable": self.unreadable,
        }


def subset(view: StoreSnapshot, seed: int, most: int, timesteps: Sequence[int]) -> Subset:
    """Returns all samples of a store, or as many random whole blocks as `most` samples and 64 MiB allow."""
    spec = view.spec
    size = sum(spec.encoding(t).state_bytes for t in timesteps)
    fitting = max(1, MOST_BYTES // size)
    most = max(spec.block_samples, min(most, fitting))
    there = view.committed
    count = len(there) * spec.shard_samples if there is not None else view.num_samples
    per_shard = spec.shard_samples // spec.block_samples
    blocks = -(-count // spec.block_samples)
    whole = count <= min(most, fitting)
    wanted = min(blocks, most // spec.block_samples)
    drawn = np.random.default_rng(seed).choice(blocks, wanted, replace=False)
    chosen = np.arange(blocks) if whole else np.sort(drawn)
    if there is not None:
        chosen = there[chosen // per_shard] * per_shard + chosen % per_shard
    samples = (chosen[:, None] * spec.block_samples + np.arange(spec.block_samples)).reshape(-1)
    # A block may be larger than what may be read at once.
    samples = samples[samples < view.num_samples].astype(np.int64)[:fitting]
    share = f"all {len(samples):,} samples"
    if not whole:
        share = (
            f"{len(samples):,} of {count:,} samples ({100 * len(samples) / count:.2g} %): {len(chosen)} "
            f"block{'s' * (len(chosen) != 1)} of {spec.block_samples} drawn with seed {seed}"
        )
    return Subset(samples, share, whole)


def by_statistic(view: StoreSnapshot, name: str, timestep: int, seed: int) -> SortedSamples:
    """Sorts a subset by a statistic, largest first."""
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    read = readable(view, chosen.samples, [timestep])
    return sorted_order(chosen, ((portion, STATISTICS[name](states[timestep])) for portion, states in read))


def by_distance(left: Side, right: Side, timestep: int, seed: int) -> SortedSamples:
    """Sorts a subset of the common samples by the root mean square between both sides, largest first.

    Raises:
        RequestError: the sides cannot be compared, or store the timestep at different resolutions.
    """
    most = MOST_SAMPLES if left.student is right.student is None else MOST_STUDENT_SAMPLES
    chosen = subset(left.view, seed, most, [timestep])
    both = chosen.samples < right.view.num_samples
    if not both.all():
        what = f"{both.sum():,} that both have, among {chosen.what}"
        chosen = Subset(chosen.samples[both], what, whole=False)

    def distances() -> Iterator[tuple[list[int], Values]]:
        for portion in chunks(left.view, chosen.samples, [timestep]):
            apart, marks = differences(left, right, portion, timestep)
            good = [row for row, sample in enumerate(portion) if sample not in marks]
            yield [portion[row] for row in good], norm(apart[good])

    return sorted_order(chosen, distances())


def by_number(view: StoreSnapshot, timestep: int, seed: int) -> SortedSamples:
    """Returns the subset that `by_statistic` sorts, ordered by number; reads nothing."""
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    return SortedSamples(chosen.samples, chosen.what, chosen.whole, np.zeros(0), 0)


def kept(order: SortedSamples, classes: npt.NDArray[np.int64], labels: Iterable[int], told: str) -> SortedSamples:
    """Those of an order whose class is one of some labels, `told` in words."""
    wanted = np.isin(classes, list(labels))
    values = order.values[wanted] if len(order.values) else order.values
    what = f"{wanted.sum():,} {told} among {order.what}"
    return SortedSamples(order.samples[wanted], what, order.whole, values, order.unreadable)


def chunks(
    view: StoreSnapshot, samples: Sequence[int] | npt.NDArray[np.int64], timesteps: Sequence[int]
) -> Iterator[list[int]]:
    """Yields samples in portions of at most 4 million values, which are read at once."""
    values = sum(math.prod(view.spec.state_shape(t)) for t in timesteps)
    portion = max(1, min(_AT_ONCE, _VALUES_AT_ONCE // values))
    for start in range(0, len(samples), portion):
        yield [int(sample) for sample in samples[start : start + portion]]


def readable(
    view: StoreSnapshot, samples: Sequence[int] | npt.NDArray[np.int64], timesteps: Sequence[int]
) -> Iterator[tuple[list[int], States]]:
    """Yields those of some samples that can be read with their states, in the portions of `chunks`; none is empty.

    The next portion is read meanwhile.
    """

    def begin(portion: list[int]) -> Future[Looked]:
        return _AHEAD.submit(view.read, portion, timesteps)

    portions = list(chunks(view, samples, timesteps))
    begun = [begin(portion) for portion in portions[:1]]
    for number, portion in enumerate(portions):
        begun += [begin(following) for following in portions[number + 1 : number + 2]]
        looked = begun.pop(0).result()
        good = np.array([sample not in looked.marks for sample in portion])
        if good.all():
            yield portion, looked.states
        elif good.any():
            yield np.array(portion)[good].tolist(), {t: state[good] for t, state in looked.states.items()}


def sorted_order(chosen: Subset, read: Iterable[tuple[Sequence[int], Values]]) -> SortedSamples:
    """Sorts a subset by the values of its samples that could be read, largest first, ties by number."""
    portions = list(read)
    samples = np.array([sample for portion, _ in portions for sample in portion], dtype=np.int64)
    values = np.concatenate([np.zeros(0), *(values for _, values in portions)])
    order = np.lexsort((samples, -values))
    return SortedSamples(samples[order], chosen.what, chosen.whole, values[order], len(chosen.samples) - len(samples))
