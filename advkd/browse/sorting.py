"""Sorts samples: by a statistic, by the distance to a student or another store, or at random.

Sorting a store of 10^8 samples would mean reading it. So a subset is sorted, and every answer names it: all samples of
a small store, else whole blocks drawn at random with a seed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent
from storage import States

MOST_SAMPLES = 4096
MOST_STUDENT_SAMPLES = 512
MOST_BYTES = 64 * 2**20
_AT_ONCE = 256
_VALUES_AT_ONCE = 2**22
Values = npt.NDArray[np.float64]


def norm(states: npt.NDArray[Any]) -> Values:
    """Returns the root mean square of every state `[B, C, H, W]`."""
    values = states.astype(np.float64).reshape(len(states), -1)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", values, values) / values.shape[1]))


def brightness(states: npt.NDArray[Any]) -> Values:
    """Returns the mean of every state."""
    return np.asarray(states.astype(np.float64).reshape(len(states), -1).mean(axis=1))


def contrast(states: npt.NDArray[Any]) -> Values:
    """Returns the standard deviation of every state."""
    return np.asarray(states.astype(np.float64).reshape(len(states), -1).std(axis=1))


STATISTICS: dict[str, Callable[[npt.NDArray[Any]], Values]] = {
    "norm": norm,
    "brightness": brightness,
    "contrast": contrast,
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
class SortedSamples:
    """Samples in order, the values by which they were sorted, and the subset."""

    samples: npt.NDArray[np.int64]
    values: Values
    what: str
    whole: bool
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
    chosen = np.arange(blocks) if whole else _some(blocks, most // spec.block_samples, seed)
    if there is not None:
        chosen = there[chosen // per_shard] * per_shard + chosen % per_shard
    samples = (chosen[:, None] * spec.block_samples + np.arange(spec.block_samples)).reshape(-1)
    # A block may be larger than what may be read at once.
    samples = samples[samples < view.num_samples].astype(np.int64)[:fitting]
    share = f"all {len(samples):,} samples"
    if not whole:
        share = (
            f"{len(samples):,} of {count:,} samples ({100 * len(samples) / count:.2g} %): {len(chosen)} blocks of "
            f"{spec.block_samples} drawn with seed {seed}"
        )
    return Subset(samples, share, whole)


def by_statistic(view: StoreSnapshot, name: str, timestep: int, seed: int) -> SortedSamples:
    """Sorts a subset by a statistic, largest first."""
    statistic = STATISTICS[name]
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    return _ordered(chosen, view, [timestep], lambda _, states: statistic(states[timestep]))


def by_student(view: StoreSnapshot, student: ShownStudent, timestep: int, seed: int) -> SortedSamples:
    """Sorts a subset by the root mean square between the student's state and the teacher's, largest first."""
    spec = view.spec
    first = spec.timesteps[0]
    chosen = subset(view, seed, MOST_STUDENT_SAMPLES, [first, timestep])

    def distance(portion: Sequence[int], states: States) -> Values:
        predicted = student.states(spec, portion, states[first])[timestep]
        return norm(predicted - states[timestep].astype(np.float32))

    return _ordered(chosen, view, [first, timestep], distance)


def by_number(view: StoreSnapshot, timestep: int, seed: int) -> SortedSamples:
    """Returns the subset that `by_statistic` sorts, ordered by number; reads nothing."""
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    return SortedSamples(chosen.samples, np.zeros(0), chosen.what, chosen.whole, 0)


def at_random(view: StoreSnapshot, seed: int) -> SortedSamples:
    """Draws single samples with a seed, each at most once."""
    there = view.committed
    count = len(there) * view.spec.shard_samples if there is not None else view.num_samples
    samples = _some(count, min(count, MOST_SAMPLES), seed)
    np.random.default_rng(seed).shuffle(samples)
    if there is not None:
        samples = (
            there[samples // view.spec.shard_samples] * view.spec.shard_samples + samples % view.spec.shard_samples
        )
    what = f"{len(samples):,} of {count:,} samples drawn with seed {seed}"
    return SortedSamples(samples, np.zeros(0), what, len(samples) == count, 0)


def kept(order: SortedSamples, read: npt.NDArray[np.int64], labels: Iterable[int], told: str) -> SortedSamples:
    """Those of an order that have one of some labels, `told` in words; `read` is -1 where a sample was not readable."""
    wanted = np.isin(read, list(labels))
    values = order.values[wanted] if len(order.values) else order.values
    samples, unreadable = order.samples[wanted], order.unreadable + int((read < 0).sum())
    what = f"{len(samples):,} {told} among {order.what}"
    return SortedSamples(samples, values, what, order.whole, unreadable)


def chunks(
    view: StoreSnapshot, samples: Sequence[int] | npt.NDArray[np.int64], timesteps: Sequence[int]
) -> Iterator[list[int]]:
    """Yields samples in portions of at most 4 million values, which are read at once."""
    values = sum(math.prod(view.spec.state_shape(t)) for t in timesteps)
    portion = max(1, min(_AT_ONCE, _VALUES_AT_ONCE // values))
    for start in range(0, len(samples), portion):
        yield [int(sample) for sample in samples[start : start + portion]]


def _ordered(
    chosen: Subset, view: StoreSnapshot, timesteps: Sequence[int], value: Callable[[Sequence[int], States], Values]
) -> SortedSamples:
    values, readable = [np.zeros(0)], [np.zeros(0, dtype=bool)]
    for portion in chunks(view, chosen.samples, timesteps):
        looked = view.read(portion, timesteps)
        readable.append(np.array([sample not in looked.marks for sample in portion]))
        values.append(value(portion, looked.states) if readable[-1].any() else np.zeros(len(portion)))
    return sorted_order(chosen, np.concatenate(values), np.concatenate(readable))


def sorted_order(chosen: Subset, values: Values, readable: npt.NDArray[np.bool_]) -> SortedSamples:
    """Sorts the subset's readable samples, largest value first, ties by number."""
    samples, values = chosen.samples[readable], values[readable]
    order = np.lexsort((samples, -values))
    return SortedSamples(samples[order], values[order], chosen.what, chosen.whole, int((~readable).sum()))


def _some(count: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Draws distinct numbers below `count`, sorted, without a list of all numbers."""
    generator = np.random.default_rng(seed)
    if wanted * 4 >= count:
        return np.sort(generator.permutation(count)[:wanted])
    candidates = np.unique(generator.integers(0, count, 2 * wanted))
    return np.sort(generator.permutation(candidates)[:wanted])
