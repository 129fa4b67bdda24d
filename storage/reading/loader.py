"""Yields shuffled numpy batches from a sealed store, epoch after epoch; can be resumed at any batch.

`assignment.py` gives the order, `windows.py` does the reading; states have the spec's dtype. Memory holds the window in
use, those that are read ahead, one batch, and the cache.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, tee
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.layouts import Reader, States
from storage.reading.assignment import RowRange, batches_per_epoch, epoch_windows, part_bounds, window_order
from storage.reading.caches import object_source
from storage.reading.reader import captured_timesteps, open_store
from storage.reading.windows import Window, read_windows
from storage.records import Manifest, check_seed


@dataclass(frozen=True)
class Batch:
    """Some samples and their states."""

    indices: npt.NDArray[np.int64]
    """Sample numbers, `[B]`."""
    states: States
    """Timestep -> `[B, C, H_k, W_k]` in the spec's dtype; arrays of their own, not views."""


class TrajectoryLoader:
    """Yields batches of a store for one of `world_size` ranks, without end.

    Over all ranks, every sample comes exactly once per epoch, in an order that differs between epochs. The exception is
    each rank's last, partial batch: it is dropped by default, and consists of different samples in each epoch.

    Args:
        uri: URI of the store.
        timesteps: timesteps of the states to read, all captured ones if None.
        batch_size: samples per batch and rank.
        seed: seed of the order.
        rank: this rank, in `[0, world_size)`.
        world_size: number of ranks.
        window: number of shards that are held in memory and shuffled together.
        prefetch: number of windows that are read ahead in the background, 0 or more.
        threads: number of shards that are read at once.
        cache: "none", "memory" or "disk": where objects are kept after their first read; useful for stores in S3.
        cache_bytes: bound of the cache; None: 2 GiB of memory, 50 GiB of disk.
        cache_folder: folder of the disk cache, may be shared by processes, runs and stores; None: `$ADVKD_CACHE`, or
            `advkd` in the user's cache folder.
        drop_last: whether to leave out a rank's partial last batch. If False, ranks may differ by one batch.
        num_samples: number of samples to use, from the first one on; all if None.

    Raises:
        GridMismatchError: `timesteps` is not a subset of the captured ones; the message names both.
        ValueError: a count out of range, or a batch larger than a rank's part of the store.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        timesteps: Sequence[int] | None = None,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        window: int = 4,
        prefetch: int = 1,
        threads: int = 2,
        cache: str = "none",
        cache_bytes: int | None = None,
        cache_folder: str | None = None,
        drop_last: bool = True,
        num_samples: int | None = None,
    ) -> None:
        uri = os.fspath(uri)
        source = object_source(uri, cache, cache_bytes=cache_bytes, cache_folder=cache_folder)
        self._reader: Reader = open_store(uri, source)
        self.timesteps = captured_timesteps(self.manifest, timesteps)
        self.batch_size = batch_size
        self.seed = check_seed(seed)
        self.rank = rank
        self.world_size = world_size
        self.window = window
        self.prefetch = prefetch
        self.threads = threads
        self.drop_last = drop_last
        self.num_samples = self.manifest.num_samples if num_samples is None else num_samples
        self._epoch = 0
        self._batch = 0
        self._check()

    @property
    def manifest(self) -> Manifest:
        """Manifest of the store."""
        return self._reader.manifest

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches that this rank gets in one epoch."""
        return batches_per_epoch(
            self.num_samples, self.batch_size, self.rank, self.world_size, drop_last=self.drop_last
        )

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yields batches from the loader's cursor on, without end; a later `state_dict` counts them as used."""
        with closing(self._batches(count(self._epoch), self._batch)) as batches:
            for batch in batches:
                self._batch += 1
                if self._batch == self.batches_per_epoch:
                    self._epoch, self._batch = self._epoch + 1, 0
                yield batch

    def epoch(self, number: int) -> Generator[Batch, None, None]:
        """Yields the batches of one epoch, counted from 0; does not move the loader's cursor."""
        if number < 0:
            raise ValueError(f"an epoch's number must be 0 or more, got {number}; count epochs from 0")
        return self._batches([number], 0)

    def state_dict(self) -> dict[str, Any]:
        """Returns, as plain JSON, the cursor and everything that decides which batches follow."""
        return {**self._order(), "epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues where `state_dict` was taken, with bit-identical batches.

        Raises:
            ValueError: this loader would give another order than the one that saved the state.
        """
        order = self._order()
        expected = {*order, "epoch", "batch"}
        if set(state) != expected:
            raise ValueError(
                f"a loader's state has the keys {sorted(expected)}, got {sorted(state)}; "
                "resume with the release that saved it"
            )
        differing = {name: (state[name], order[name]) for name in order if state[name] != order[name]}
        if differing:
            raise ValueError(
                f"a loader resumes exactly only with the settings it was saved with; (saved, now) differ in "
                f"{differing}; "
                "pass the saved ones (num_samples keeps the old size of a store that was extended)"
            )
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if epoch < 0 or not 0 <= batch < self.batches_per_epoch:
            raise ValueError(
                f"a loader's cursor must lie in an epoch of {self.batches_per_epoch} batches, got batch {batch} of "
                f"epoch {epoch}; the state is damaged"
            )
        self._epoch, self._batch = epoch, batch

    def _order(self) -> dict[str, Any]:
        return {
            "digest": self.manifest.digest,
            "num_samples": self.num_samples,
            "timesteps": list(self.timesteps),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "rank": self.rank,
            "world_size": self.world_size,
            "window": self.window,
            "drop_last": self.drop_last,
        }

    def _check(self) -> None:
        if self.prefetch < 0:
            raise ValueError(f"TrajectoryLoader.prefetch must be 0 or more, got {self.prefetch}; use 0 for none")
        for name in ("batch_size", "world_size", "window", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrajectoryLoader.{name} must be positive, got {getattr(self, name)}; use 1 or more")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"TrajectoryLoader.rank must lie in [0, {self.world_size}), got {self.rank}; count from 0")
        if not 1 <= self.num_samples <= self.manifest.num_samples:
            raise ValueError(
                f"TrajectoryLoader.num_samples must lie in [1, {self.manifest.num_samples}], the store's size, got "
                f"{self.num_samples}; extend the store or use fewer"
            )
        if self.batches_per_epoch == 0:
            raise ValueError(
                f"a batch must fit into a rank's part of the store, got batch_size {self.batch_size} for "
                f"{self.num_samples} samples on {self.world_size} ranks; use a smaller batch or more samples"
            )

    def _batches(self, epochs: Iterable[int], first: int) -> Generator[Batch, None, None]:
        """Yields the batches of some epochs; skips those before batch `first` of the first epoch."""
        planned, plans = tee(self._plan(epochs, first))
        windows = read_windows(
            self._reader,
            self.timesteps,
            (plan.pieces for plan in planned),
            threads=self.threads,
            prefetch=self.prefetch,
        )
        kept: Batch | None = None
        with closing(windows):
            for plan, held in zip(plans, windows, strict=True):
                order, start = plan.order, 0
                while len(order) - start + _length(kept) >= self.batch_size:
                    stop = start + self.batch_size - _length(kept)
                    yield _joined(kept, self._taken(held, order[start:stop]))
                    kept, start = None, stop
                if start < len(order):
                    kept = _joined(kept, self._taken(held, order[start:]))
                if plan.ends_epoch and kept is not None:
                    yield kept
                    kept = None

    def _plan(self, epochs: Iterable[int], first: int) -> Iterator["_WindowPlan"]:
        """Yields what to read and in which order to use it; leaves out windows before the first batch."""
        for epoch in epochs:
            skip, left = first * self.batch_size, self._samples_per_epoch - first * self.batch_size
            first = 0
            windows = epoch_windows(
                self.num_samples,
                self.manifest.spec.shard_samples,
                seed=self.seed,
                epoch=epoch,
                rank=self.rank,
                world_size=self.world_size,
                window=self.window,
            )
            for number, pieces in enumerate(windows):
                size = sum(map(len, pieces))
                if skip >= size:
                    skip -= size
                    continue
                order = window_order(size, seed=self.seed, epoch=epoch, rank=self.rank, window_index=number)
                order = order[skip : skip + left]
                skip, left = 0, left - len(order)
                yield _WindowPlan(pieces, order, ends_epoch=left == 0)
                if left == 0:
                    break

    @property
    def _samples_per_epoch(self) -> int:
        """Returns the number of samples that this rank uses in an epoch: its whole part, or only full batches."""
        start, stop = part_bounds(self.num_samples, self.rank, self.world_size)
        return self.batches_per_epoch * self.batch_size if self.drop_last else stop - start

    def _taken(self, held: Window, rows: npt.NDArray[np.int64]) -> Batch:
        spec = self.manifest.spec
        states = {t: spec.encoding(t).decode(held.stored[t].take(rows, axis=0)) for t in self.timesteps}
        return Batch(held.indices[rows], states)


@dataclass(frozen=True)
class _WindowPlan:
    pieces: Sequence[RowRange]
    order: npt.NDArray[np.int64]
    """Rows of the window that are used, in the order of use."""
    ends_epoch: bool


def _length(batch: Batch | None) -> int:
    return 0 if batch is None else len(batch.indices)


def _joined(first: Batch | None, second: Batch) -> Batch:
    if first is None:
        return second
    states = {t: np.concatenate([first.states[t], values]) for t, values in second.states.items()}
    return Batch(np.concatenate([first.indices, second.indices]), states)
