"""The catalogue: the stores at or below the URIs that were given at the start, and no others.

A URL names a store by its digest. Only names that the catalogue has made are looked up, so no part of a URL becomes a
path.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from advkd.browse.errors import NotShownError
from advkd.browse.limits import too_large
from advkd.browse.store_view import StoreView
from storage import ByteCache, StoreError, StoreNotFoundError, StoreSummary, digest, list_stores, summarize
from storage.objects import list_folders, list_objects

KEPT_BYTES = 64 * 2**20
"""Bytes of everything that is cached for all stores: what was read, and what was made of it."""
LIST_SECONDS = 4.0
_NAME_DIGITS = 16


@dataclass(frozen=True)
class Listed:
    """An entry of the list; `name` is None for a store that cannot be opened."""

    summary: StoreSummary
    name: str | None


class Catalogue:
    """The stores at or below some URIs. Thread-safe."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._uris = tuple(uri.rstrip("/") or uri for uri in uris)
        self.kept = ByteCache(KEPT_BYTES)
        """Cache for what is read from these stores and made of it."""
        self._names: dict[str, str] = {}
        self._stores: dict[str, StoreView] = {}
        self._lock = threading.Lock()
        self._listed: list[Listed] | None = None
        self._due = 0.0

    def require(self) -> None:
        """Raises unless every URI is a store, or a root that may hold stores.

        Raises:
            StoreNotFoundError: a URI holds nothing, or something that is no store.
            StoreError: a URI cannot be reached, or may not be read.
        """
        for uri in self._uris:
            if summarize(uri) is None and not list_stores(uri):
                _require_root(uri)

    def stores(self, *, newest: bool = False) -> list[Listed]:
        """Returns all stores, in the order of the URIs; lists them again every few seconds.

        Args:
            newest: whether to wait for a thread that is listing the stores; otherwise returns the last list at once.
        """
        if time.monotonic() >= self._due and self._lock.acquire(blocking=newest or self._listed is None):
            try:
                if time.monotonic() >= self._due:
                    began = time.monotonic()
                    self._listed = [
                        Listed(summary, self._named(summary)) for uri in self._uris for summary in _below(uri)
                    ]
                    self._due = time.monotonic() + max(LIST_SECONDS, 10 * (time.monotonic() - began))
            finally:
                self._lock.release()
        assert self._listed is not None
        return self._listed

    def store(self, name: str) -> StoreView:
        """Returns the store with a name; raises `NotShownError` for a name that this catalogue has not made."""
        if name not in self._stores:
            if not (name.isascii() and name.replace("-", "").isalnum() and len(name) <= 2 * _NAME_DIGITS):
                raise NotShownError(
                    "a store is named by the first 16 digits of its digest, and this is none; go to the list"
                )
            self.stores(newest=True)
        view = self._stores.get(name)
        if view is None:
            raise NotShownError(
                f"the store of an address must be one that `advkd browse` was started with, and {name} is not; start "
                "it with that store's URI too"
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


def _below(uri: str) -> list[StoreSummary]:
    """Lists the store at a URI, or those below it; a URI that cannot be read becomes an unreadable entry."""
    try:
        summary = summarize(uri)
        return [_bounded(one) for one in ([summary] if summary is not None else list_stores(uri))]
    except (StoreError, OSError) as error:
        return [
            StoreSummary(
                uri=uri,
                state="unreadable",
                spec=None,
                num_samples=0,
                num_shards=0,
                total_bytes=None,
                problem=str(error),
            )
        ]


def _bounded(summary: StoreSummary) -> StoreSummary:
    """Lists a store that is too large for pages as unreadable, and says why."""
    problem = None if summary.spec is None else too_large(summary.spec)
    return summary if problem is None else replace(summary, state="unreadable", spec=None, problem=problem)


def _require_root(uri: str) -> None:
    """Accepts an empty root, whose stores may come later, and refuses one that holds foreign objects."""
    folders = list_folders(uri)
    if "://" not in uri:
        from pathlib import Path

        if not Path(uri).is_dir():
            raise StoreNotFoundError(
                f"`advkd browse` needs a store or a root of stores, but there is no folder {uri}; check the path"
            )
    foreign = [entry.key for entry in list_objects(uri) if "/" not in entry.key] if not folders else []
    if any(key.endswith(".tar") for key in foreign):
        raise StoreNotFoundError(
            f"a store is a folder with spec.json, commits/ and manifest.json, but {uri} holds tars of somebody else "
            f"({foreign[0]}, ...) without them, so nothing says what their members are; read them with webdataset, or "
            "compute a store with `advkd precompute --format webdataset`"
        )
    if foreign:
        raise StoreNotFoundError(
            f"a store is a folder with spec.json and manifest.json, but {uri} holds other things ({foreign[0]}, ...); "
            "check the URI"
        )
