"""`DiskCache`: objects kept in a local folder under their sha256, shared by any number of processes, stores and runs.

Not a library's: diskcache 5.6.3 (its last release, 2023) writes files under their final names, checks no content and
unpickles what its folder says is a pickle (CVE-2025-69872); fsspec's file caches expire by age and have no bound (its
issue 510); litdata requires torch, and its cache belongs to its own chunk format and judges a chunk by its size.
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
"""An eviction frees one part in so many of the bound, so that the walk over the folder is worth it."""


class DiskCache:
    """Keeps the objects of a source in files `<folder>/<first two digits>/<sha256>`, the least recently used go first.

    The bound holds at any instant for the cached files of all processes together; unfinished writes come on top of
    it, one object for each thread that is adding one. This is why: files are added under an exclusive lock only, by a
    rename, and the lock file holds a total that is never below the truth. It is raised before the rename, so a kill
    in between leaves it too high, and so does a file that is removed as damaged. A total that is too high brings the
    next walk over the folder forward, and a walk sets it right. A process also walks once before it adds its first
    file: a power failure may have left an old total. Processes with different bounds each keep their own when adding.

    A file is compared with its sha256 when this process first reads it, and with its size always. Files are touched
    when they are read: their modification time is the time of the last use.

    Args:
        source: What is asked for objects that are not cached.
        folder: Made if it is not there; nothing in it is removed but what caches have put there.
        max_bytes: Bound of all cached files together; larger objects are passed through.

    Raises:
        StorePermissionError: The folder cannot be made, written or locked.
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
        """See `ObjectSource.read_into`. Nothing that happens to the cache is an error: the source is asked instead."""
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
            # Whatever has this name the next time is another file.
            self._checked.discard(entry.sha256)
            return False
        except StoreError as error:
            logger.debug("%s is fetched again: %s", path, error)
            good = False
        # The file may be evicted at any time, and belong to another user who lets this one read it only.
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
        """Give a complete file its name, after making room for it; the lock must be held."""
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
        """Bytes of all cached files, after evicting some if `size` more would pass the bound."""
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
        """All cached files; stale leftovers of killed processes are removed on the way."""
        files = []
        stale = time.time() - _STALE_SECONDS
        for folder in self._folder.glob("[0-9a-f][0-9a-f]/"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    # What is listed may be gone a moment later: damaged files and the temporary ones of others.
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
    """Bytes that the lock file says are cached, None if it does not say."""
    text = os.pread(lock, _TOTAL_BYTES, 0)
    return int(text) if _TOTAL.fullmatch(text) else None


def _write_total(lock: int, total: int) -> None:
    # One call and always as long: a kill leaves the old number or the new one.
    os.pwrite(lock, b"%020d\n" % total, 0)
