"""Windows of shards, read whole by background threads while the one before is used.

A window's states lie in one array per timestep, as they are stored; every object goes straight to its place there.
The arrays are used again and again: at most `prefetch + 1` windows are in memory.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.layouts import Reader, States
from storage.reading.assignment import RowRange
from storage.records import TrajectorySpec


@dataclass(frozen=True)
class Window:
    """Some shards' samples; valid until the next window is asked for."""

    indices: npt.NDArray[np.int64]
    """Sample numbers, `[n]`."""
    stored: States
    """Timestep -> stored arrays, at least `[n, C, H_k, W_k]`."""


class _Arrays:
    """Room for the largest window, taken when the first object of the store was found to be of its size."""

    def __init__(self, spec: TrajectorySpec, capacity: int) -> None:
        self._spec, self.capacity = spec, capacity
        self._lock = threading.Lock()
        self.stored: States = {}

    def rows(self, timestep: int, start: int, stop: int) -> npt.NDArray[Any]:
        with self._lock:
            if timestep not in self.stored:
                encoding = self._spec.encoding(timestep)
                self.stored[timestep] = np.empty((self.capacity, *encoding.shape), dtype=encoding.stored_dtype)
        return self.stored[timestep][start:stop]


@dataclass(frozen=True)
class _Pending:
    pieces: Sequence[RowRange]
    arrays: _Arrays
    reads: Sequence["Future[None]"]


def read_windows(
    reader: Reader, timesteps: Sequence[int], windows: Iterable[Sequence[RowRange]], *, threads: int, prefetch: int
) -> Generator[Window, None, None]:
    """The windows in their order, `prefetch` of them being read while one is used.

    Args:
        reader: Of the store.
        timesteps: Which states to read.
        windows: Pieces of shards; taken as they are needed.
        threads: Shards that are read at once.
        prefetch: Windows read ahead, 0: none.

    Raises:
        ShardCorruptError: When the window that holds a corrupt shard is asked for.
    """
    spec, pending = reader.manifest.spec, deque[_Pending]()
    spare = _Arrays(spec, 0)
    pool, failures = ThreadPoolExecutor(threads, "advkd-read"), list[BaseException]()

    def read(piece: RowRange, arrays: _Arrays, start: int) -> None:
        # A thread that has failed takes the next piece before anybody can cancel that: against a host that is dead, it
        # would wait once more. A piece that is left out fails too, so that no window is given with a gap in it.
        if failures:
            raise failures[0]
        try:
            _read_piece(reader, timesteps, piece, arrays, start)
        except BaseException as error:
            failures.append(error)
            raise

    try:
        for pieces in windows:
            needed = len(pieces) * spec.shard_samples
            if spare.capacity < needed:
                # Not before the old memory is given back, which whoever used that window is done with.
                spare.stored.clear()
                spare = _Arrays(spec, needed)
            starts = np.cumsum([0, *map(len, pieces)]).tolist()
            reads = [pool.submit(read, piece, spare, start) for piece, start in zip(pieces, starts, strict=False)]
            pending.append(_Pending(pieces, spare, reads))
            spare = _Arrays(spec, 0)
            if len(pending) > prefetch:
                yield _finished(pending[0], spec)
                spare = pending.popleft().arrays
        while pending:
            yield _finished(pending.popleft(), spec)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(pending: _Pending, spec: TrajectorySpec) -> Window:
    for read in pending.reads:
        read.result()
    numbers = [
        np.arange(piece.start, piece.stop, dtype=np.int64) + piece.shard * spec.shard_samples
        for piece in pending.pieces
    ]
    return Window(np.concatenate(numbers), pending.arrays.stored)


def _read_piece(reader: Reader, timesteps: Sequence[int], piece: RowRange, arrays: _Arrays, start: int) -> None:
    stop = start + len(piece)
    if len(piece) == reader.manifest.spec.shard_samples:
        reader.read_stored(piece.shard, timesteps, lambda timestep: arrays.rows(timestep, start, stop))
        return
    for timestep, stored in reader.read_stored(piece.shard, timesteps).items():
        arrays.rows(timestep, start, stop)[:] = stored[piece.start : piece.stop]
