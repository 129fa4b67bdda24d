"""The catalogue: the stores at or below the URIs that were given at the start, and no others.

A URL names a store by its digest. Only names that the catalogue has made are looked up, so no part of a URL becomes a
path.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advkd.browse.errors import NotShownError
from advkd.browse.store_view import StoreView
from advkd.diffusion import conditions_of
from advkd.files import is_remote
from advkd.text import size_and_time
from storage import ByteCache, StoreError, StoreNotFoundError, StoreSummary, TrajectorySpec, digest, summarize
from storage.care import store_uris
from storage.objects import list_folders, list_objects

KEPT_BYTES = 64 * 2**20
"""Bytes of everything that is cached for all stores: what was read, and what was made of it."""
LIST_SECONDS = 4.0
PATIENCE_SECONDS = 0.5
"""How long a page waits for the whole list; then it shows what is known, and asks again."""
_ENOUGH = 12
"""Rows that fill a window: with them a page does not wait for more."""
MOST_TIMESTEPS = 1024
"""Timesteps of a store: all steps of a common teacher, and the noise."""
MOST_VALUES = 2**23
"""Values of one state: 3 channels of 1024 x 1024 are 3 million."""
MOST_NOISE_VALUES = 2**30
"""Values of a shard's noise where it is not stored, for one shard's is drawn to be compared."""
_LISTING = ThreadPoolExecutor(6, thread_name_prefix="advkd-list")
_NAME_DIGITS = 16


@dataclass(frozen=True)
class Listed:
    """An entry of the list; `name` is None for a store that cannot be opened.

    `size` is bytes of data, `written` when it last grew, in seconds since the epoch; None: unknown.
    """

    summary: StoreSummary
    name: str | None
    size: int | None = None
    written: float | None = None


class Catalogue:
    """The stores at or below some URIs, read in the background: the first are there before all are. Thread-safe."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._uris = tuple(uri.rstrip("/") or uri for uri in uris)
        self.kept = ByteCache(KEPT_BYTES)
        """Cache for what is read from these stores and made of it."""
        self._names: dict[str, str] = {}
        self._stores: dict[str, StoreView] = {}
        self._changed = threading.Condition()
        self._listed: list[Listed] = []
        self._whole = self._running = False
        self._due = 0.0

    def require(self) -> None:
        """Raises unless every URI is a store, or a root that may hold stores; begins to list them.

        Raises:
            StoreNotFoundError: a URI holds nothing, or something that is no store.
            StoreError: a URI cannot be reached, or may not be read.
        """
        for uri in self._uris:
            if summarize(uri) is None and not any(summarize(each) for uris in store_uris(uri) for each in uris):
                _require_root(uri)
        # By the time a browser is there, the first rows are too.
        self._ask()

    @property
    def reading(self) -> bool:
        """Whether the first list is not whole yet."""
        return not self._whole

    def stores(self, *, newest: bool = False) -> list[Listed]:
        """Returns the stores that are known, in the order of the URIs; lists them again every few seconds.

        Args:
            newest: whether to wait for the whole of a list that is being made, not only half a second.
        """
        self._ask()
        with self._changed:
            whole: Callable[[], bool] = lambda: not self._running  # noqa: E731
            if newest:
                self._changed.wait_for(whole)
            else:
                self._changed.wait_for(lambda: whole() or len(self._listed) >= _ENOUGH, PATIENCE_SECONDS)
            return self._listed

    def _ask(self) -> None:
        with self._changed:
            if self._running or time.monotonic() < self._due:
                return
            self._running = True
        threading.Thread(target=self._read, daemon=True, name="advkd-list").start()

    def _read(self) -> None:
        began, listed = time.monotonic(), list[Listed]()
        try:
            for uri in self._uris:
                for found in _below(uri):
                    with self._changed:
                        listed.append(replace(found, name=self._named(found.summary)))
                        if not self._whole:
                            self._listed = list(listed)
                            self._changed.notify_all()
        finally:
            with self._changed:
                self._listed, self._whole, self._running = listed, True, False
                self._due = time.monotonic() + max(LIST_SECONDS, 10 * (time.monotonic() - began))
                self._changed.notify_all()

    def store(self, name: str) -> StoreView:
        """Returns the store with a name; raises `NotShownError` for a name that this catalogue has not made."""
        if name not in self._stores:
            self._ask()
            with self._changed:
                self._changed.wait_for(lambda: name in self._stores or not self._running)
        view = self._stores.get(name)
        if view is None:
            raise NotShownError(
                f"the store of an address must be one that `advkd browse` was started with, and {name[:40]!r} is not; "
                "start it with that store's URI too"
            )
        return view

    def knows(self, name: str) -> bool:
        """Returns whether a store with a name has been listed."""
        return name in self._stores

    def _named(self, summary: StoreSummary) -> str | None:
        if summary.spec is None:
            return self._names.get(summary.uri)
        if summary.uri not in self._names:
            wanted, number = digest(summary.spec)[:_NAME_DIGITS], 1
            while (name := wanted if number == 1 else f"{wanted}-{number}") in self._stores:
                number += 1
            self._names[summary.uri] = name
            self._stores[name] = StoreView(summary.uri, name, self.kept)
        return self._names[summary.uri]


def _below(uri: str) -> Iterator[Listed]:
    """Lists the store at a URI, or those below it; what cannot be read becomes an unreadable entry."""
    here = _at(uri)
    if here is not None:
        yield here
        return
    try:
        for uris in store_uris(uri):
            empty = True
            for entry in filter(None, _LISTING.map(_at, uris)):
                empty = False
                yield entry
            if not empty:
                return
    except (StoreError, OSError) as error:
        yield _unreadable(uri, error)


def _at(uri: str) -> Listed | None:
    """Lists the store at a URI with its size; one that is too large for pages as unreadable, with the reason."""
    try:
        summary = summarize(uri)
    except (StoreError, OSError) as error:
        return _unreadable(uri, error)
    if summary is None:
        return None
    problem = None if summary.spec is None else too_large(summary.spec)
    if problem is not None:
        return _unreadable(uri, problem)
    try:
        return Listed(summary, None, *size_and_time(summary))
    except (StoreError, OSError):
        # A store that fails does not hide the others.
        return Listed(summary, None)


def _unreadable(uri: str, problem: object) -> Listed:
    told: dict[str, Any] = {"spec": None, "num_samples": 0, "num_shards": 0, "total_bytes": None}
    return Listed(StoreSummary(uri=uri, state="unreadable", problem=str(problem), **told), None)


def _require_root(uri: str) -> None:
    """Accepts an empty root, whose stores may come later, and refuses one that holds foreign objects."""
    if not is_remote(uri) and not Path(uri).is_dir():
        raise StoreNotFoundError(
            f"`advkd browse` needs a store or a root of stores, but there is no folder {uri}; check the path"
        )
    foreign = [] if list_folders(uri) else [entry.key for entry in list_objects(uri) if "/" not in entry.key]
    if foreign:
        tars = any(key.endswith(".tar") for key in foreign)
        raise StoreNotFoundError(
            f"a store is a folder with spec.json, commits/ and manifest.json, but {uri} holds "
            f"{'tars of somebody else' if tars else 'other things'} ({foreign[0]}, ...) without them; "
            + ("read them with webdataset, or compute a store with `advkd precompute`" if tars else "check the URI")
        )


def too_large(spec: TrajectorySpec) -> str | None:
    """Returns why a store cannot be shown, None if it can."""
    values, timesteps = math.prod(spec.sample_shape), len(spec.timesteps)
    if timesteps > MOST_TIMESTEPS:
        return f"a store is shown if it has at most {MOST_TIMESTEPS:,} timesteps, got {timesteps:,}; choose fewer"
    if values > MOST_VALUES:
        return (
            f"a store is shown if a state has at most {MOST_VALUES:,} values, got {values:,} of shape "
            f"{list(spec.sample_shape)}; choose a smaller one"
        )
    if spec.noise == "seeded" and spec.shard_samples * values > MOST_NOISE_VALUES:
        return (
            f"a store whose noise is drawn again is shown if a shard's has at most {MOST_NOISE_VALUES:,} values, got "
            f"{spec.shard_samples * values:,}; choose smaller shards"
        )
    try:
        conditions_of(spec.conditioning)
    except (ValueError, TypeError) as error:
        return f"a store is shown if its condition is of a known kind: {error}"
    return None
