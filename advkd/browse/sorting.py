"""Which samples come first: by a statistic, by how far a student or another store is away, or at random.

Sorting a store of 10^8 samples would mean reading it. What is sorted is a subset, and every answer says which: all
samples of a small store, else whole blocks drawn at random with a seed.
"""

from collections.abc import Callable, Iterator, Sequence
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
Values = npt.NDArray[np.float64]


def norm(states: npt.NDArray[Any]) -> Values:
    """Root mean square of every state `[B, C, H, W]`."""
    values = states.astype(np.float64).reshape(len(states), -1)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", values, values) / values.shape[1]))


def brightness(states: npt.NDArray[Any]) -> Values:
    """Mean of every state."""
    return np.asarray(states.astype(np.float64).reshape(len(states), -1).mean(axis=1))


def contrast(states: npt.NDArray[Any]) -> Values:
    """Standard deviation of every state."""
    return np.asarray(states.astype(np.float64).reshape(len(states), -1).std(axis=1))


STATISTICS: dict[str, Callable[[npt.NDArray[Any]], Values]] = {
    "norm": norm,
    "brightness": brightness,
    "contrast": contrast,
}


@dataclass(frozen=True)
class Subset:
    """Samples that stand for a store."""

    samples: npt.NDArray[np.int64]
    what: str
    """For people: which these are."""
    whole: bool
    """Whether it is all there is."""


@dataclass(frozen=True)
class SortedSamples:
    """Samples in order, the value that they were ordered by, and of how many they are the first."""

    samples: npt.NDArray[np.int64]
    values: Values
    what: str
    whole: bool
    unreadable: int
    """Samples of the subset that could not be read and are left out."""

    @property
    def held_bytes(self) -> int:
        """What keeping it takes."""
        return self.samples.nbytes + self.values.nbytes

    def to_json(self) -> dict[str, Any]:
        """For pages."""
        return {
            "samples": self.samples.tolist(),
            "values": [round(value, 5) for value in self.values.tolist()],
            "what": self.what,
            "whole": self.whole,
            "unreadable": self.unreadable,
        }


def subset(view: StoreSnapshot, seed: int, most: int, timesteps: Sequence[int]) -> Subset:
    """All samples of a store, or as many whole blocks, drawn with a seed, as `most` samples and 64 MiB allow."""
    spec = view.spec
    size = sum(spec.encoding(t).state_bytes for t in timesteps)
    most = max(spec.block_samples, min(most, MOST_BYTES // size))
    there = view.committed
    count = len(there) * spec.shard_samples if there is not None else view.num_samples
    per_shard = spec.shard_samples // spec.block_samples
    blocks = -(-count // spec.block_samples)
    whole = count <= most
    chosen = np.arange(blocks) if whole else _some(blocks, most // spec.block_samples, seed)
    if there is not None:
        chosen = there[chosen // per_shard] * per_shard + chosen % per_shard
    samples = (chosen[:, None] * spec.block_samples + np.arange(spec.block_samples)).reshape(-1)
    samples = samples[samples < view.num_samples].astype(np.int64)
    share = f"all {len(samples):,} samples"
    if not whole:
        share = (
            f"{len(samples):,} of {count:,} samples ({100 * len(samples) / count:.2g} %): {len(chosen)} blocks of "
            f"{spec.block_samples} drawn with seed {seed}"
        )
    return Subset(samples, share, whole)


def by_statistic(view: StoreSnapshot, name: str, timestep: int, seed: int) -> SortedSamples:
    """Greatest first."""
    statistic = STATISTICS[name]
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    return _ordered(chosen, view, [timestep], lambda _, states: statistic(states[timestep]))


def by_student(view: StoreSnapshot, student: ShownStudent, timestep: int, seed: int) -> SortedSamples:
    """By the root mean square between a student's state and the teacher's, greatest first."""
    spec = view.spec
    first = spec.timesteps[0]
    chosen = subset(view, seed, MOST_STUDENT_SAMPLES, [first, timestep])

    def distance(portion: Sequence[int], states: States) -> Values:
        predicted = student.states(spec, portion, states[first])[timestep]
        return norm(predicted - states[timestep].astype(np.float32))

    return _ordered(chosen, view, [first, timestep], distance)


def by_number(view: StoreSnapshot, timestep: int, seed: int) -> SortedSamples:
    """The subset that `by_statistic` sorts, as it comes; nothing is read."""
    chosen = subset(view, seed, MOST_SAMPLES, [timestep])
    return SortedSamples(chosen.samples, np.zeros(0), chosen.what, chosen.whole, 0)


def at_random(view: StoreSnapshot, seed: int) -> SortedSamples:
    """Single samples drawn with a seed, each at most once."""
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


def kept(order: SortedSamples, read: npt.NDArray[np.int64], label: int, told: str) -> SortedSamples:
    """Those of an order that have a label, `told` in words; `read` is -1 where a sample could not be read."""
    values = order.values[read == label] if len(order.values) else order.values
    samples, unreadable = order.samples[read == label], order.unreadable + int((read < 0).sum())
    what = f"{len(samples):,} {told} among {order.what}"
    return SortedSamples(samples, values, what, order.whole, unreadable)


def chunks(samples: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """Samples in portions that are read at once."""
    for start in range(0, len(samples), _AT_ONCE):
        yield [int(sample) for sample in samples[start : start + _AT_ONCE]]


def _ordered(
    chosen: Subset, view: StoreSnapshot, timesteps: Sequence[int], value: Callable[[Sequence[int], States], Values]
) -> SortedSamples:
    values, readable = [np.zeros(0)], [np.zeros(0, dtype=bool)]
    for portion in chunks(chosen.samples):
        looked = view.read(portion, timesteps)
        values.append(value(portion, looked.states))
        readable.append(np.array([sample not in looked.marks for sample in portion]))
    return sorted_order(chosen, np.concatenate(values), np.concatenate(readable))


def sorted_order(chosen: Subset, values: Values, readable: npt.NDArray[np.bool_]) -> SortedSamples:
    """The subset's readable samples, greatest value first, ties by number."""
    samples, values = chosen.samples[readable], values[readable]
    order = np.lexsort((samples, -values))
    return SortedSamples(samples[order], values[order], chosen.what, chosen.whole, int((~readable).sum()))


def _some(count: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Distinct numbers below `count`, sorted, without a list of all of them."""
    generator = np.random.default_rng(seed)
    if wanted * 4 >= count:
        return np.sort(generator.permutation(count)[:wanted])
    candidates = np.unique(generator.integers(0, count, 2 * wanted))
    return np.sort(generator.permutation(candidates)[:wanted])
