"""Reads a store for the pages: samples in any order, marks of those that cannot be read, and growth.

Everything is read through `storage`'s readers, in ranges that are checked and cached.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from storage import (
    ByteCache,
    Manifest,
    ManifestError,
    Reader,
    ShardCorruptError,
    States,
    StoreError,
    StoreIncompleteError,
    StoreNotFoundError,
    TrajectorySpec,
    join,
    open_growing,
    open_store,
    read_manifest,
)
from storage.reading import CommittedShards
from storage.records import forget_objects

GROWING_SECONDS = 1.5
SEALED_SECONDS = 8.0
PATIENCE_SECONDS = 2.0
"""Seconds after a failure before the store is read again."""
_READERS = 6

_READING = ThreadPoolExecutor(_READERS, thread_name_prefix="advkd-look")


@dataclass(frozen=True, eq=False)
class Mark:
    """Why a sample cannot be read: `kind` is "corrupt" or "pending"."""

    kind: str
    message: str

    def error(self) -> StoreError:
        """Returns it as an error."""
        return (StoreIncompleteError if self.kind == "pending" else ShardCorruptError)(self.message)


@dataclass(frozen=True)
class Looked:
    """Samples that were read; rows that could not be read are zeros, and `marks` says why, by sample."""

    states: States
    marks: dict[int, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreSnapshot:
    """A store at one moment: a request sees only this, even if the store changes meanwhile."""

    store: "StoreView"
    reader: Reader
    sealed: bool
    stamp: str
    """Changes whenever the store does."""

    @property
    def spec(self) -> TrajectorySpec:
        """Spec of the store."""
        return self.reader.manifest.spec

    @property
    def manifest(self) -> Manifest:
        """Manifest of the store; provisional if the store is growing, see `storage.open_growing`."""
        return self.reader.manifest

    @property
    def committed(self) -> npt.NDArray[np.int64] | None:
        """Numbers of a growing store's committed shards, ascending; None for a sealed store, which has all."""
        shards = self.manifest.shards
        return shards.committed if isinstance(shards, CommittedShards) else None

    @property
    def num_samples(self) -> int:
        """Number of samples; in a growing store, up to the last committed shard."""
        return self.manifest.num_samples

    def read(self, samples: Sequence[int], timesteps: Sequence[int]) -> Looked:
        """Reads samples at some timesteps, `[len(samples), C, H_k, W_k]`; a damaged shard affects only its own ones."""
        try:
            return Looked(_read(self.reader, samples, timesteps))
        except (ShardCorruptError, StoreIncompleteError, ManifestError):
            return self._read_by_shard(samples, timesteps)

    def _read_by_shard(self, samples: Sequence[int], timesteps: Sequence[int]) -> Looked:
        spec = self.spec
        indices = np.asarray(samples, dtype=np.int64)
        # Of a store whose objects are not what its record says, nothing is allocated on the record's word.
        nothing = np.zeros((), dtype=spec.dtype)
        states: States = {t: np.broadcast_to(nothing, (len(indices), *spec.state_shape(t))) for t in timesteps}
        marks: dict[int, Mark] = {}
        for shard in np.unique(indices // spec.shard_samples).tolist():
            here = np.flatnonzero(indices // spec.shard_samples == shard)
            try:
                read = _read(self.reader, indices[here].tolist(), timesteps)
            except StoreIncompleteError as error:
                mark = Mark("pending", str(error))
            except (ShardCorruptError, ManifestError) as error:
                mark = Mark("corrupt", str(error))
                self.store.failures += 1
                # Cached pieces of the shard from before the damage would hide it.
                forget_objects(self.store.kept, {join(self.store.uri, key) for key in self.manifest.shards.keys(shard)})
            else:
                for t, values in read.items():
                    if not states[t].flags.writeable:
                        states[t] = np.zeros(states[t].shape, dtype=spec.dtype)
                    states[t][here] = values
                continue
            marks |= dict.fromkeys(indices[here].tolist(), mark)
        return Looked(states, marks)


@dataclass(frozen=True)
class _Asked:
    """The last answer of a store: a view, or an error; then `view` is the last good one."""

    view: StoreSnapshot | None
    failure: StoreError | OSError | None
    due: float
    """When the store is read again, by the monotonic clock."""


class StoreView:
    """A store that is browsed. Thread-safe.

    Args:
        uri: URI of the store.
        name: name in URLs, which does not reveal the URI.
        kept: cache of what was read, shared by all stores.
    """

    def __init__(self, uri: str, name: str, kept: ByteCache) -> None:
        self.uri = uri
        self.name = name
        self.kept = kept
        self.failures = 0
        """How often a damaged shard was met: an answer that was made meanwhile lacks samples."""
        self._asking = threading.Lock()
        self._asked: _Asked | None = None

    def view(self) -> StoreSnapshot:
        """Returns a recent snapshot of the store; does not wait if another thread is reading the store's records.

        A request takes one snapshot, and passes it on.

        Raises:
            StoreError: the store has disappeared, cannot be reached, may not be read, or its records are damaged. A
                later call may succeed.
        """
        asked = self._asked
        if (asked is None or time.monotonic() >= asked.due) and self._asking.acquire(blocking=asked is None):
            try:
                if self._asked is asked:
                    self._asked = self._ask()
            finally:
                self._asking.release()
        asked = self._asked
        assert asked is not None
        if asked.failure is not None:
            raise asked.failure.with_traceback(None)
        assert asked.view is not None
        return asked.view

    def _ask(self) -> _Asked:
        held = None if self._asked is None else self._asked.view
        began = time.monotonic()
        try:
            view = self._opened(held)
        except (StoreError, OSError) as error:
            return _Asked(held, error, time.monotonic() + PATIENCE_SECONDS)
        # Listing the records of a store with many shards takes long: spend at most a tenth of the time on it.
        now, patience = time.monotonic(), SEALED_SECONDS if view.sealed else GROWING_SECONDS
        return _Asked(view, None, now + max(patience, 10 * (now - began)))

    def _opened(self, held: StoreSnapshot | None) -> StoreSnapshot:
        try:
            if held is not None and held.sealed:
                manifest = read_manifest(self.uri)
                if _stamp(manifest) == held.stamp:
                    return held
            reader = open_store(self.uri, kept=self.kept)
            return StoreSnapshot(self, reader, sealed=True, stamp=_stamp(reader.manifest))
        except StoreIncompleteError:
            growing = open_growing(self.uri, kept=self.kept)
        except StoreNotFoundError as error:
            raise StoreNotFoundError(
                f"a store is shown as long as it is there, but {self.uri} has none any more; if it was moved, start "
                "`advkd browse` with its new address"
            ) from error
        return StoreSnapshot(self, growing, sealed=False, stamp=f"growing {growing.manifest.total_bytes}")


def _read(reader: Reader, samples: Sequence[int], timesteps: Sequence[int]) -> States:
    """Reads the first timestep, which also loads records and indices, then all others at once."""
    if len(reader.manifest.shards.templates) < len(reader.manifest.spec.stored_timesteps):
        # A sample is contiguous over all its timesteps, and is read and checked once.
        return reader.read_samples(samples, timesteps)
    first, *others = timesteps
    states_read = reader.read_samples(samples, [first])
    read: Callable[[int], States] = lambda t: reader.read_samples(samples, [t])  # noqa: E731
    for states in _READING.map(read, others) if len(others) > 1 else map(read, others):
        states_read |= states
    return states_read


def _stamp(manifest: Manifest) -> str:
    return f"{manifest.digest[:16]} {manifest.num_samples} {manifest.sealed}"
