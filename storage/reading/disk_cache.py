"""Keeps objects in a local folder under their sha256, shared by any number of processes, stores and runs.

Existing libraries do not fit. diskcache 5.6.3 (its last release, 2023) writes files under their final names, checks no
content, and unpickles what its folder declares to be a pickle (CVE-2025-69872). The file caches of fsspec expire by age
and have no bound (its issue 510). litdata requires torch, and its cache is tied to its own chunk format and checks a
chunk by its size only.
"""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import StoreError, StoreNotFoundError, StorePermissionError
from storage.objects import TEMPORARY_PREFIX, LocalObjects, byte_parts
from storage.records import ObjectEntry

if TYPE_CHECKING:
    from storage.reading.sources import Allocate, ObjectSource

logger = logging.getLogger(__name__)

_FILES = LocalObjects()
_LOCK_NAME = "total.lock"
_TOTAL = re.compile(rb"\d{20}\n")
_TOTAL_BYTES = 21
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STALE_SECONDS = 3600
_EVICTED_PART = 16
"""An eviction frees 1/16 of the bound, so that the walk over the folder is worth it."""


class DiskCache:
    """Keeps a source's objects in files `<folder>/<first two digits>/<sha256>`; evicts the least recently used first.

    The bound holds at any instant for the cached files of all processes together. Unfinished writes are not counted:
    one object for each thread that is adding one.

    Files are added by a rename under an exclusive lock, and the lock file holds the total size, which is never below
    the true one. The total is raised before the rename, so it is too high if the process is killed in between; it is
    also too high after a damaged file was removed. Then the next walk over the folder comes earlier, and corrects it. A
    process also walks once before it adds its first file, because a power failure may have left an old total. If
    processes have different bounds, each applies its own when it adds a file.

    A process compares a file with its sha256 when it first reads it, and with its size at every read. Each read sets
    the file's modification time, which is therefore the time of the last use.

    Args:
        source: source of the objects that are not cached.
        folder: created if it does not exist; only files that a cache has put there are removed.
        max_bytes: bound of all cached files together; larger objects are not cached.

    Raises:
        StorePermissionError: the folder cannot be made, written or locked.
    """

    def __init__(self, source: "ObjectSource", folder: str, max_bytes: int) -> None:
        # Absolute, so that a spawned process with another working directory finds the same folder.
        self._folder = Path(folder).expanduser().absolute()
        self._source = source
        self._max_bytes = max_bytes
        self._checked: set[str] = set()
        self._walked = False
        self._warned = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass
        except OSError as error:
            raise StorePermissionError(
                f"the folder of a disk cache must be writable and lockable, but {self._folder} is not: "
                f"{error.strerror}; choose another one (cache_folder or ADVKD_CACHE) or another cache"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process trusts no file that this one has checked.
        return type(self), (self._source, str(self._folder), self._max_bytes)

    def read_into(self, entry: ObjectEntry, allocate: "Allocate") -> int:
        """See `ObjectSource.read_into`. Reads from the source if the cache fails: a failing cache is never an error."""
        parts = functools.cache(lambda: byte_parts(allocate(), entry.size))
        if self._serve(entry, parts):
            return entry.size
        size = self._source.read_into(entry, parts)
        if size == entry.size <= self._max_bytes:
            self._keep(entry, b"".join(parts()))
        return size

    def _serve(self, entry: ObjectEntry, parts: "Allocate") -> bool:
        path = self._path(entry)
        try:
            size = _FILES.read_into(str(path), entry.size, parts)
            good = size == entry.size and (entry.sha256 in self._checked or _sha256(parts()) == entry.sha256)
        except StoreNotFoundError:
            # A file that gets this name later is another one.
            self._checked.discard(entry.sha256)
            return False
        except StoreError as error:
            logger.debug("%s is fetched again: %s", path, error)
            good = False
        # The file may be evicted at any time, and may belong to another user who allows only reading.
        with contextlib.suppress(OSError):
            if good:
                self._checked.add(entry.sha256)
                _touch(path)
            else:
                self._checked.discard(entry.sha256)
                path.unlink()
        return good

    def _keep(self, entry: ObjectEntry, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            return
        path = self._path(entry)
        staged = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            try:
                _FILES.write(str(staged), data)
                with self._locked() as lock:
                    self._admit(lock, staged, path, len(data))
            finally:
                staged.unlink(missing_ok=True)
        except (StoreError, OSError) as error:
            if not self._warned:
                self._warned = True
                logger.warning(
                    "a disk cache keeps what was read, but this time it could not; reading goes on from the store "
                    "(said once): %s",
                    error,
                )

    def _admit(self, lock: int, staged: Path, path: Path, size: int) -> None:
        """Gives a complete file its final name, after making room for it; the caller holds the lock."""
        if path.exists():
            return
        total = _read_total(lock) if self._walked else None
        if total is None or total + size > self._max_bytes:
            total = self._make_room(size)
            self._walked = True
        _write_total(lock, total + size)
        _touch(staged)
        staged.replace(path)

    def _make_room(self, size: int) -> int:
        """Evicts files if `size` more bytes would exceed the bound; returns the bytes of the files that remain."""
        files = self._walk()
        total = sum(file.size for file in files)
        if total + size <= self._max_bytes:
            return total
        for file in sorted(files, key=lambda file: file.used_ns):
            if total + size <= self._max_bytes - self._max_bytes // _EVICTED_PART:
                break
            file.path.unlink(missing_ok=True)
            total -= file.size
        return total

    def _walk(self) -> "list[_CachedFile]":
        """Returns all cached files, and removes stale leftovers of killed processes."""
        files = []
        stale = time.time() - _STALE_SECONDS
        for folder in self._folder.glob("[0-9a-f][0-9a-f]/"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    # A listed file may disappear at any moment: damaged files, and temporary ones of other processes.
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        if _SHA256.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                            files.append(_CachedFile(status.st_mtime_ns, Path(entry.path), status.st_size))
                        elif entry.name.startswith(TEMPORARY_PREFIX) and status.st_mtime < stale:
                            Path(entry.path).unlink()
        return files

    def _path(self, entry: ObjectEntry) -> Path:
        return self._folder / entry.sha256[:2] / entry.sha256

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield descriptor
            finally:
                # A child that was forked meanwhile has the descriptor too: closing ours would leave it the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class _CachedFile:
    used_ns: int
    path: Path
    size: int


def _sha256(parts: Sequence[memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _touch(path: Path) -> None:
    # The kernel's own clock for files moves in steps of milliseconds, too coarse for an order of uses.
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _read_total(lock: int) -> int | None:
    """Returns the total in the lock file, in bytes; None if there is none."""
    text = os.pread(lock, _TOTAL_BYTES, 0)
    return int(text) if _TOTAL.fullmatch(text) else None


def _write_total(lock: int, total: int) -> None:
    # One call of a constant length: a kill leaves either the old number or the new one.
    os.pwrite(lock, b"%020d\n" % total, 0)
