"""Lists the stores below a root: sealed, growing or unreadable."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from storage.errors import ManifestError, StoreError, StoreNotFoundError
from storage.objects import join, list_folders
from storage.records import Manifest, TrajectorySpec, committed_shards, read_identity, read_manifest

_STORES = "stores"


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """One line of `advkd cache ls`."""

    uri: str
    state: str
    """"sealed", "growing" or "unreadable"."""
    spec: TrajectorySpec | None
    """Spec of the store, None if unreadable."""
    num_samples: int
    """Number of samples that readers see; in a growing store, number of samples committed so far."""
    num_shards: int
    total_bytes: int | None
    """Bytes of the data objects, None unless sealed."""
    sealed: str = ""
    """When it was last sealed, ISO 8601; "" unless sealed."""
    problem: str | None = None
    """Why the store is unreadable."""


def list_stores(root: str | os.PathLike[str]) -> list[StoreSummary]:
    """Lists all stores `<root>/<teacher>/<digest>` below a root of stores, or below `stores/` in the root of a flow."""
    root = os.fspath(root)
    for uris in store_uris(root):
        listed = [summary for uri in uris if (summary := summarize(uri)) is not None]
        if listed:
            return listed
    return []


def store_uris(root: str) -> Iterator[list[str]]:
    """Yields the URIs where `list_stores` looks: below the root, then, if no store is there, below its `stores/`."""
    for place in (root, join(root, _STORES)):
        if place == root or _STORES in list_folders(root):
            teachers = [join(place, teacher) for teacher in list_folders(place)]
            yield [join(teacher, name) for teacher in teachers for name in list_folders(teacher)]


def summarize(uri: str | os.PathLike[str]) -> StoreSummary | None:
    """Returns the entry of `list_stores` for one store, None if there is no store."""
    uri = os.fspath(uri)
    try:
        return _summary_of_sealed(uri, read_manifest(uri))
    except StoreNotFoundError:
        pass
    except ManifestError as error:
        return _summary_of_unreadable(uri, error)
    try:
        return _summary_of_growing(uri, read_identity(uri))
    except StoreNotFoundError:
        return None
    except ManifestError as error:
        return _summary_of_unreadable(uri, error)


def _summary_of_sealed(uri: str, manifest: Manifest) -> StoreSummary:
    return StoreSummary(
        uri=uri,
        state="sealed",
        spec=manifest.spec,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        total_bytes=manifest.total_bytes,
        sealed=manifest.sealed,
    )


def _summary_of_growing(uri: str, spec: TrajectorySpec) -> StoreSummary:
    shards = len(committed_shards(uri))
    return StoreSummary(
        uri=uri,
        state="growing",
        spec=spec,
        num_samples=shards * spec.shard_samples,
        num_shards=shards,
        total_bytes=None,
    )


def _summary_of_unreadable(uri: str, error: StoreError) -> StoreSummary:
    return StoreSummary(
        uri=uri, state="unreadable", spec=None, num_samples=0, num_shards=0, total_bytes=None, problem=str(error)
    )
