"""One store as somebody looks at it: samples in any order, what is wrong with which shard, and how it grows.

Everything is read through `storage`'s readers, in ranges that are checked and kept for a while.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from storage import (
    Manifest,
    ManifestError,
    RangeCache,
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
from storage.object_source import DirectSource, MemoryCache

GROWING_SECONDS = 1.5
SEALED_SECONDS = 8.0
PATIENCE_SECONDS = 2.0
"""How long a failure is remembered before the store is asked again."""
INDEX_BYTES = 4 * 2**20
_READERS = 6
_MOST_MARKS = 10_000

_READING = ThreadPoolExecutor(_READERS, thread_name_prefix="advkd-look")


@dataclass(frozen=True)
class View:
    """A store at one moment."""

    reader: Reader
    sealed: bool
    stamp: str
    """Changes whenever the store does."""

    @property
    def spec(self) -> TrajectorySpec:
        """Whose trajectories they are."""
        return self.reader.manifest.spec

    @property
    def manifest(self) -> Manifest:
        """Of a growing store, made up: see `storage.open_growing`."""
        return self.reader.manifest

    @property
    def num_samples(self) -> int:
        """Of a growing store, up to the last committed shard."""
        return self.manifest.num_samples


@dataclass(frozen=True)
class Mark:
    """What is wrong with a shard: `kind` is "corrupt" or "pending"; `sample` is one that could not be read."""

    kind: str
    message: str
    sample: int


@dataclass(frozen=True)
class Looked:
    """Some samples: rows that could not be read are zeros, and `marks` says why, by sample."""

    states: States
    marks: dict[int, Mark] = field(default_factory=dict)


class LookedAt:
    """A store that is browsed. Thread-safe.

    Args:
        uri: where it is.
        name: how URLs call it; says nothing of where it is.
        ranges: keeps what was read, for all stores together.
    """

    def __init__(self, uri: str, name: str, ranges: RangeCache) -> None:
        self.uri = uri
        self.name = name
        self.marks: dict[int, Mark] = {}
        self._ranges = ranges
        self._source = MemoryCache(DirectSource(uri), INDEX_BYTES)
        self._lock = threading.Lock()
        self._view: View | None = None
        self._failure: StoreError | OSError | None = None
        self._due = 0.0

    def view(self) -> View:
        """The store as it is now, or was a moment ago.

        Raises:
            StoreError: It is gone, cannot be reached, may not be read, or its records are damaged. Asking again later
                is all it takes to recover.
        """
        with self._lock:
            if time.monotonic() < self._due:
                if self._failure is not None:
                    raise self._failure
            else:
                self._refresh()
            assert self._view is not None
            return self._view

    def read(self, samples: Sequence[int], timesteps: Sequence[int]) -> Looked:
        """Some samples at some timesteps, `[len(samples), C, H_k, W_k]`; a damaged shard spoils its own ones only."""
        view = self.view()
        try:
            return Looked(_read(view.reader, samples, timesteps))
        except (ShardCorruptError, StoreIncompleteError, ManifestError):
            return self._read_by_shard(view, samples, timesteps)

    def check(self, shard: int) -> Mark | None:
        """Read a whole shard and compare its sha256; what is wrong with it, or None."""
        view = self.view()
        first = shard * view.spec.shard_samples
        try:
            view.reader.read_shard(shard)
        except (ShardCorruptError, ManifestError) as error:
            return self._mark(shard, Mark("corrupt", str(error), first))
        except StoreIncompleteError as error:
            return Mark("pending", str(error), first)
        self.marks.pop(shard, None)
        return None

    def recheck(self, most: int = 8) -> None:
        """Look again at samples that could not be read: a shard that was repaired loses its mark."""
        view = self.view()
        for shard, mark in list(self.marks.items())[:most]:
            if mark.sample >= view.num_samples:
                self.marks.pop(shard, None)
                continue
            try:
                _read(view.reader, [mark.sample], view.spec.timesteps)
            except (ShardCorruptError, ManifestError):
                continue
            self.marks.pop(shard, None)

    def _refresh(self) -> None:
        began = time.monotonic()
        try:
            self._view = self._opened()
            self._failure = None
            patience = SEALED_SECONDS if self._view.sealed else GROWING_SECONDS
        except (StoreError, OSError) as error:
            self._failure = error
            patience = PATIENCE_SECONDS
            raise
        finally:
            # Listing the records of a store with many shards takes its time: a tenth of it is enough.
            took = time.monotonic() - began
            self._due = time.monotonic() + (max(patience, 10 * took) if self._failure is None else PATIENCE_SECONDS)

    def _opened(self) -> View:
        held = self._view
        try:
            if held is not None and held.sealed:
                manifest = read_manifest(self.uri)
                if _stamp(manifest) == held.stamp:
                    return held
            reader = open_store(self.uri, self._source, self._ranges)
            return View(reader, sealed=True, stamp=_stamp(reader.manifest))
        except StoreIncompleteError:
            growing = open_growing(self.uri, self._source, self._ranges)
        except StoreNotFoundError as error:
            raise StoreNotFoundError(
                f"a store is shown as long as it is there, but {self.uri} has none any more; if it was moved, start "
                "`advkd browse` with its new address"
            ) from error
        return View(growing, sealed=False, stamp=f"growing {growing.manifest.total_bytes}")

    def _read_by_shard(self, view: View, samples: Sequence[int], timesteps: Sequence[int]) -> Looked:
        spec = view.spec
        indices = np.asarray(samples, dtype=np.int64)
        states: States = {t: np.zeros((len(indices), *spec.state_shape(t)), dtype=spec.dtype) for t in timesteps}
        marks: dict[int, Mark] = {}
        for shard in np.unique(indices // spec.shard_samples).tolist():
            here = np.flatnonzero(indices // spec.shard_samples == shard)
            try:
                found = _read(view.reader, indices[here].tolist(), timesteps)
            except StoreIncompleteError as error:
                mark = Mark("pending", str(error), int(indices[here[0]]))
            except (ShardCorruptError, ManifestError) as error:
                mark = self._mark(shard, Mark("corrupt", str(error), int(indices[here[0]])))
            else:
                for t, values in found.items():
                    states[t][here] = values
                continue
            marks |= dict.fromkeys(indices[here].tolist(), mark)
        return Looked(states, marks)

    def _mark(self, shard: int, mark: Mark) -> Mark:
        # What was kept of it from better times would hide the damage from the next look.
        self._ranges.forget({join(self.uri, key) for key in self.view().manifest.shards.keys(shard)})
        if len(self.marks) < _MOST_MARKS:
            self.marks[shard] = mark
        return mark


def _read(reader: Reader, samples: Sequence[int], timesteps: Sequence[int]) -> States:
    """The first timestep alone, as records and indices come with it, then all others at once."""
    first, *others = timesteps
    found = reader.read_samples(samples, [first])
    read: Callable[[int], States] = lambda t: reader.read_samples(samples, [t])  # noqa: E731
    for states in _READING.map(read, others) if len(others) > 1 else map(read, others):
        found |= states
    return found


def _stamp(manifest: Manifest) -> str:
    return f"{manifest.digest[:16]} {manifest.num_samples} {manifest.sealed}"
