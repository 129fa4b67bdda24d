"""`TrajectoryLoader`: shuffled numpy batches from a sealed store, epoch after epoch, resumable to the batch.

The order is that of `assignment.py`; states come in the stored dtype. Memory: one window of shards and one batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.assignment import Piece, batches_per_epoch, epoch_windows, window_order
from storage.base import Reader, States
from storage.manifest import Manifest
from storage.reading import captured_timesteps, open_store
from storage.seeding import check_seed


@dataclass(frozen=True)
class Batch:
    """Some samples and their states."""

    indices: npt.NDArray[np.int64]
    """Sample numbers, `[B]`."""
    states: States
    """Timestep -> `[B, C, H, W]` in the stored dtype."""


class TrajectoryLoader:
    """Batches of a store for one of `world_size` ranks, for ever.

    Every sample comes exactly once per epoch over all ranks, apart from each rank's last, partial batch (dropped by
    default, a different one each epoch), in a different order each epoch.

    Args:
        uri: The store.
        timesteps: Which states to read, all captured ones if None.
        batch_size: Samples per batch and rank.
        seed: Seed of the order.
        rank: This rank, in `[0, world_size)`.
        world_size: Number of ranks.
        window: Shards that are held and shuffled together.
        drop_last: Leave out a rank's partial last batch. Without it, ranks may differ by one batch.
        num_samples: Use only the first samples of the store, all if None.

    Raises:
        GridMismatchError: `timesteps` is not a subset of the captured ones; both grids are named.
        ValueError: A count out of range, or a batch larger than a rank's part of the store.
    """

    def __init__(
        self,
        uri: str,
        *,
        timesteps: Sequence[int] | None = None,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        window: int = 4,
        drop_last: bool = True,
        num_samples: int | None = None,
    ) -> None:
        self._reader: Reader = open_store(uri)
        self.timesteps = captured_timesteps(self.manifest, timesteps)
        self.batch_size = batch_size
        self.seed = check_seed(seed)
        self.rank = rank
        self.world_size = world_size
        self.window = window
        self.drop_last = drop_last
        self.num_samples = self.manifest.num_samples if num_samples is None else num_samples
        self._epoch = 0
        self._batch = 0
        self._check()

    @property
    def manifest(self) -> Manifest:
        """Of the store."""
        return self._reader.manifest

    @property
    def batches_per_epoch(self) -> int:
        """Batches that this rank gets in one epoch."""
        return batches_per_epoch(
            self.num_samples, self.batch_size, self.rank, self.world_size, drop_last=self.drop_last
        )

    def __iter__(self) -> Iterator[Batch]:
        """Batches from the loader's cursor on, without end; `state_dict` after a batch counts it as used."""
        while True:
            for batch in self._batches(self._epoch, self._batch):
                self._batch += 1
                if self._batch == self.batches_per_epoch:
                    self._epoch, self._batch = self._epoch + 1, 0
                yield batch

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch; leaves the loader's cursor alone."""
        return self._batches(number, 0)

    def state_dict(self) -> dict[str, Any]:
        """The cursor and all that decides what comes after it, as plain JSON."""
        return {**self._order(), "epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: the remaining batches are bit-identical.

        Raises `ValueError` if this loader would give another order than the one that the state is of.
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
        for name in ("batch_size", "world_size", "window"):
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

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Batches `first` and later of an epoch; windows before it are skipped unread."""
        windows = epoch_windows(
            self._shard_sizes(),
            seed=self.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
            window=self.window,
        )
        skip = first * self.batch_size
        left = self.batches_per_epoch - first
        kept: Batch | None = None
        for number, pieces in enumerate(windows):
            size = sum(map(len, pieces))
            if skip >= size:
                skip -= size
                continue
            if left == 0:
                return
            order = window_order(size, seed=self.seed, epoch=epoch, rank=self.rank, window_index=number)[skip:]
            skip = 0
            held = self._read_window(pieces)
            start = 0
            while len(order) - start + (len(kept.indices) if kept else 0) >= self.batch_size and left:
                stop = start + self.batch_size - (len(kept.indices) if kept else 0)
                yield _joined(kept, _taken(held, order[start:stop]))
                kept, start, left = None, stop, left - 1
            if start < len(order) and left:
                kept = _joined(kept, _taken(held, order[start:]))
        if kept is not None and left and not self.drop_last:
            yield kept

    def _shard_sizes(self) -> list[int]:
        size = self.manifest.spec.shard_samples
        return [min(size, self.num_samples - start) for start in range(0, self.num_samples, size)]

    def _read_window(self, pieces: Sequence[Piece]) -> Batch:
        size = self.manifest.spec.shard_samples
        read = [self._reader.read_shard(piece.shard, self.timesteps) for piece in pieces]
        indices = [np.arange(p.shard * size + p.start, p.shard * size + p.stop, dtype=np.int64) for p in pieces]
        states = {
            t: np.concatenate([shard[t][p.start : p.stop] for shard, p in zip(read, pieces, strict=True)])
            for t in self.timesteps
        }
        return Batch(np.concatenate(indices), states)


def _taken(held: Batch, rows: npt.NDArray[np.int64]) -> Batch:
    return Batch(held.indices[rows], {t: values[rows] for t, values in held.states.items()})


def _joined(first: Batch | None, second: Batch) -> Batch:
    if first is None:
        return second
    states = {t: np.concatenate([first.states[t], values]) for t, values in second.states.items()}
    return Batch(np.concatenate([first.indices, second.indices]), states)
