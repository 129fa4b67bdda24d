"""Objects on a local file system: temporary name, fsync, rename, so a name never holds half a write."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from storage.errors import StoreError, StoreFullError, StoreNotFoundError, StorePermissionError
from storage.objects.protocol import Leftover, Level, ObjectInfo
from storage.objects.scatter import byte_parts, read_parts

TEMPORARY_PREFIX = ".tmp-"
"""Names of unfinished writes start with this; nobody reads them."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
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

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """The bytes start..stop-1 of a file."""
        try:
            with Path(path).open("rb") as file:
                # The file's size bounds the request: a read allocates all that it asks for.
                count = max(0, min(stop, os.fstat(file.fileno()).st_size) - start)
                file.seek(start)
                return file.read(count)
        except OSError as error:
            raise _reading_error(path, error) from error

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """The size of a file; if it is the one given, its bytes are in the parts allocated."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (Path.open loses the type FileIO)
                found = os.fstat(file.fileno()).st_size
                return read_parts(file, byte_parts(allocate(), size)) if found == size else found
        except StoreError:
            raise
        except OSError as error:
            raise _reading_error(path, error) from error

    def write(self, path: str, data: bytes) -> None:
        """Write beside the final name, flush to the disk, then rename."""
        _publish(path, data, _replace)

    def create(self, path: str, data: bytes) -> bool:
        """Create a file unless there is one, whole: written beside its name, then linked, which never replaces."""
        return _publish(path, data, _link)

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return Path(path).is_file()

    def delete(self, path: str) -> None:
        """Remove a file if it is there; of a symbolic link, the link itself."""
        try:
            Path(path).unlink()
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise _writing_error(path, error) from error

    def entries(self, path: str, start_after: str) -> list[ObjectInfo]:
        """All files below a folder, finished writes only."""
        try:
            found = _files(path, unfinished=False)
            return [ObjectInfo(key=key, size=status.st_size, modified=status.st_mtime) for key, status in found]
        except OSError as error:
            raise _reading_error(path, error) from error

    def level(self, path: str) -> Level:
        """Folders and finished writes right below a folder."""
        try:
            with os.scandir(path) as entries:
                found = list(entries)
            files = ((entry.name, entry) for entry in found if not entry.is_dir())
            objects = [
                ObjectInfo(key=key, size=status.st_size, modified=status.st_mtime)
                for key, status in _statuses(files, unfinished=False)
            ]
            return Level([entry.name for entry in found if entry.is_dir()], objects)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return Level((), ())
            raise _reading_error(path, error) from error

    def leftovers(self, path: str) -> list[Leftover]:
        """Temporary files below a folder."""
        try:
            return [
                Leftover(key=key, started=status.st_mtime, size=status.st_size)
                for key, status in _files(path, unfinished=True)
            ]
        except OSError as error:
            raise _reading_error(path, error) from error

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Remove a temporary file if it is there still."""
        *folders, name = leftover.key.split("/")
        downwards = all(step not in ("", ".", "..") for step in folders)
        if not name.startswith(TEMPORARY_PREFIX) or not downwards:
            raise ValueError(
                f"a leftover on disk is a file named {TEMPORARY_PREFIX}*, got {leftover}; take it from list_leftovers"
            )
        folder = Path(path)
        for step in folders:
            folder /= step
            if folder.is_symlink():
                raise StoreError(
                    f"a leftover is removed from below {path} only, but {folder} is a symbolic link; remove "
                    f"{leftover.key} by hand"
                )
        self.delete(str(folder / name))


def _replace(temporary: Path, final: Path) -> bool:
    temporary.replace(final)
    return True


def _link(temporary: Path, final: Path) -> bool:
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            return False
        # Where there are no links, two that ask in the same moment may both be told that they were the one.
        temporary.replace(final)
    return True


def _publish(path: str, data: bytes, put: Callable[[Path, Path], bool]) -> bool:
    """Writes a file beside its final name, flushes it and puts it there, if `put` does; whether it did."""
    final = Path(path)
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_flush(temporary, data)
            done = put(temporary, final)
        finally:
            # Gone already where it was renamed.
            with contextlib.suppress(OSError):
                temporary.unlink()
        _flush_folder(final.parent)
        return done
    except OSError as error:
        raise _writing_error(path, error) from error


def _files(folder: str, *, unfinished: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Keys and statuses of the files below a folder: those of finished writes, or the temporary ones."""
    return _statuses(_walk(folder, ""), unfinished=unfinished)


def _statuses(
    entries: Iterable[tuple[str, "os.DirEntry[str]"]], *, unfinished: bool
) -> Iterator[tuple[str, os.stat_result]]:
    for key, entry in entries:
        if entry.name.startswith(TEMPORARY_PREFIX) == unfinished:
            try:
                status = entry.stat(follow_symlinks=not unfinished)
            except OSError as error:
                if error.errno not in _NOT_THERE | {errno.ELOOP}:
                    raise
                continue
            # As for `exists`: a link to a file is one; a dangling link, a link to a folder or a pipe is not.
            if stat.S_ISREG(status.st_mode):
                yield key, status


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """All that is no folder below a folder; symbolic links to folders are not followed: they may lead anywhere."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(entry.path, f"{prefix}{entry.name}/")
                else:
                    yield prefix + entry.name, entry
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


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
