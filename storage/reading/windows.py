"""Reads windows of whole shards in background threads while the window before is used.

A window has one array per timestep, in the stored dtype, and every object is read straight into it. The arrays are
reused: at most `prefetch + 1` windows are in memory.
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
    """Samples of several shards; valid until the next window is requested."""

    indices: npt.NDArray[np.int64]
    """Sample numbers, `[n]`."""
    stored: States
    """Timestep -> stored arrays, at least `[n, C, H_k, W_k]`."""


class _Arrays:
    """Arrays for the largest window, allocated once the first object of the store was found to have the right size."""

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
    """Yields the windows in order, and reads `prefetch` of them ahead.

    Args:
        reader: reader of the store.
        timesteps: timesteps of the states to read.
        windows: the pieces of shards of each window; consumed when needed.
        threads: number of shards that are read at once.
        prefetch: number of windows that are read ahead, 0 or more.

    Raises:
        ShardCorruptError: the window that is requested holds a corrupt shard.
    """
    spec, pending = reader.manifest.spec, deque[_Pending]()
    spare = _Arrays(spec, 0)
    pool, failures = ThreadPoolExecutor(threads, "advkd-read"), list[BaseException]()

    def read(piece: RowRange, arrays: _Arrays, start: int) -> None:
        # After a failure, a thread takes the next piece before it can be cancelled, and would wait for a dead host
        # again. So it skips the piece, which then fails too: no window with a gap is yielded.
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
                # Only now is the memory of the previous window free: its user has asked for the next one.
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
