"""Objects on a local file system: temporary name, fsync, rename, so a name never holds half a write."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from storage.errors import StoreError, StoreFullError, StoreNotFoundError, StorePermissionError

TEMPORARY_PREFIX = ".tmp-"
"""Names of unfinished writes start with this; nobody reads them."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalObjects:
    """Files below the paths given."""

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise _reading_error(path, error) from error

    def write(self, path: str, data: bytes) -> None:
        """Write beside the final name, flush to the disk, then rename."""
        final = Path(path)
        temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_and_flush(temporary, data)
                temporary.replace(final)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            _flush_folder(final.parent)
        except OSError as error:
            raise _writing_error(path, error) from error

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return Path(path).is_file()

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        try:
            Path(path).unlink()
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise _writing_error(path, error) from error

    def keys(self, path: str) -> list[str]:
        """All files below a folder, finished writes only."""
        try:
            return sorted(_walk(path, ""))
        except OSError as error:
            raise _reading_error(path, error) from error

    def folders(self, path: str) -> list[str]:
        """Folders right below a folder."""
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError as error:
            if error.errno in _NOT_THERE:
                return []
            raise _reading_error(path, error) from error


def _walk(folder: str, prefix: str) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    found += _walk(entry.path, f"{prefix}{entry.name}/")
                elif not entry.name.startswith(TEMPORARY_PREFIX):
                    found.append(prefix + entry.name)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    return found


def _write_and_flush(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reading_error(path: str, error: OSError) -> StoreError:
    if error.errno in _NOT_THERE:
        return StoreNotFoundError(f"an object to read must exist, but there is no file {path}; check the path")
    if error.errno in _FORBIDDEN:
        return StorePermissionError(f"{path} must be readable, but: {error.strerror}; change its permissions")
    return StoreError(f"{path} cannot be read: {error.strerror}; check the path and the disk")


def _writing_error(path: str, error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFullError(
            f"writing {path} needs free space, but: {error.strerror}; free some and run again, finished shards are kept"
        )
    if error.errno in _FORBIDDEN | _NOT_THERE | {errno.EEXIST, errno.EISDIR}:
        return StorePermissionError(
            f"{path} must be writable, but: {error.strerror}; choose another folder or change its permissions"
        )
    return StoreError(f"{path} cannot be written: {error.strerror}; check the path and the disk")
