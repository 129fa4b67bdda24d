"""The caches that a reader can use, by name."""

from storage.reading.cache_folder import default_cache_folder
from storage.reading.disk_cache import DiskCache
from storage.reading.memory_cache import MemoryCache
from storage.reading.sources import DirectSource, ObjectSource

DEFAULT_MEMORY_BYTES = 2 * 2**30
"""Bound of a cache in memory, per reader, in bytes."""


DEFAULT_DISK_BYTES = 50 * 2**30
"""Bound of a cache on disk, over all processes that share its folder, in bytes."""


def object_source(
    uri: str, cache: str, *, cache_bytes: int | None = None, cache_folder: str | None = None
) -> ObjectSource:
    """Returns the source of the objects of the store at a URI, with a cache chosen by name.

    Args:
        uri: the store.
        cache: `none`, `memory` (of this reader alone) or `disk` (shared by all processes, stores and runs).
        cache_bytes: bound of the cache, `DEFAULT_MEMORY_BYTES` or `DEFAULT_DISK_BYTES` if None.
        cache_folder: folder of a cache on disk, `default_cache_folder()` if None.

    Raises:
        ValueError: an unknown cache, or a bound that is not positive.
        StorePermissionError: the folder of a cache on disk cannot be made, written or locked.
    """
    if cache not in CACHES:
        raise ValueError(f"a cache must be one of {CACHES}, got {cache!r}; choose one of them")
    if cache_bytes is not None and cache_bytes < 1:
        raise ValueError(
            f"cache_bytes must be positive, got {cache_bytes}; use None for the default, or cache='none' for no cache"
        )
    return _MADE[cache](DirectSource(uri), cache_bytes, cache_folder)


def _uncached(source: ObjectSource, _bytes: int | None, _folder: str | None) -> ObjectSource:
    return source


def _in_memory(source: ObjectSource, cache_bytes: int | None, _folder: str | None) -> ObjectSource:
    return MemoryCache(source, cache_bytes or DEFAULT_MEMORY_BYTES)


def _on_disk(source: ObjectSource, cache_bytes: int | None, folder: str | None) -> ObjectSource:
    return DiskCache(source, folder or default_cache_folder(), cache_bytes or DEFAULT_DISK_BYTES)


_MADE = {"none": _uncached, "memory": _in_memory, "disk": _on_disk}


CACHES = tuple(_MADE)
"""Names of the caches."""
