"""Objects on a local file system: written under a temporary name, flushed, then renamed, so never half written."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from storage.errors import StoreError, StoreFullError, StoreNotFoundError, StorePermissionError
from storage.objects.owners import whose
from storage.objects.protocol import Leftover, Level, ObjectInfo
from storage.objects.scatter import byte_parts, read_parts

TEMPORARY_PREFIX = ".tmp-"
"""Prefix of the names of unfinished writes, which are never read."""

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalObjects:
    """Files as objects; a path is the file's."""

    def read(self, path: str) -> bytes:
        """Reads all bytes of a file."""
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise _reading_error(path, error) from error

    def read_range(self, path: str, start: int, stop: int) -> bytes:
        """Reads the bytes start..stop-1 of a file."""
        try:
            with Path(path).open("rb") as file:
                # Bound the request by the file's size: a read allocates as much as it asks for.
                count = max(0, min(stop, os.fstat(file.fileno()).st_size) - start)
                file.seek(start)
                return file.read(count)
        except OSError as error:
            raise _reading_error(path, error) from error

    def read_into(self, path: str, size: int, allocate: Callable[[], Sequence[memoryview]]) -> int:
        """Returns the size of a file; if it equals `size`, reads its bytes into the allocated parts."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (Path.open loses the type FileIO)
                actual = os.fstat(file.fileno()).st_size
                return read_parts(file, byte_parts(allocate(), size)) if actual == size else actual
        except StoreError:
            raise
        except OSError as error:
            raise _reading_error(path, error) from error

    def write(self, path: str, data: bytes) -> None:
        """Writes under a temporary name beside the final one, flushes to the disk, then renames."""
        _publish(path, data, _replace)

    def create(self, path: str, data: bytes) -> bool:
        """Creates a file unless it exists, all or nothing: a hard link gives it its name and never replaces a file."""
        return _publish(path, data, _link)

    def exists(self, path: str) -> bool:
        """Returns whether the file exists."""
        return Path(path).is_file()

    def delete(self, path: str) -> None:
        """Removes a file if it exists; for a symbolic link, the link itself."""
        try:
            Path(path).unlink()
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise _writing_error(path, error) from error

    def entries(self, path: str, start_after: str) -> list[ObjectInfo]:
        """Lists all files of finished writes below a folder."""
        try:
            files = _files(path, unfinished=False)
            return [ObjectInfo(key=key, size=status.st_size, modified=status.st_mtime) for key, status in files]
        except OSError as error:
            raise _reading_error(path, error) from error

    def level(self, path: str) -> Level:
        """Lists folders and finished writes directly below a folder."""
        try:
            with os.scandir(path) as entries:
                listed = list(entries)
            files = ((entry.name, entry) for entry in listed if not entry.is_dir())
            objects = [
                ObjectInfo(key=key, size=status.st_size, modified=status.st_mtime)
                for key, status in _statuses(files, unfinished=False)
            ]
            return Level([entry.name for entry in listed if entry.is_dir()], objects)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return Level((), ())
            raise _reading_error(path, error) from error

    def leftovers(self, path: str) -> list[Leftover]:
        """Lists the temporary files below a folder."""
        try:
            return [
                Leftover(key=key, started=status.st_mtime, size=status.st_size)
                for key, status in _files(path, unfinished=True)
            ]
        except OSError as error:
            raise _reading_error(path, error) from error

    def remove_leftover(self, path: str, leftover: Leftover) -> None:
        """Removes a temporary file if it still exists."""
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
        # Without hard links, two callers at the same moment may both get True.
        temporary.replace(final)
    return True


def _publish(path: str, data: bytes, put: Callable[[Path, Path], bool]) -> bool:
    """Writes and flushes a temporary file, then calls `put` to give it its final name; returns the result of `put`."""
    final = Path(path)
    temporary = final.with_name(f"{TEMPORARY_PREFIX}{final.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_and_flush(temporary, data)
            done = put(temporary, final)
        finally:
            # A rename has removed it already.
            with contextlib.suppress(OSError):
                temporary.unlink()
        _flush_folder(final.parent)
        return done
    except OSError as error:
        raise _writing_error(path, error) from error


def _files(folder: str, *, unfinished: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Yields keys and statuses of the files below a folder: those of finished writes, or the temporary ones."""
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
            # As in `exists`, a link to a file counts as a file; a dangling link, a link to a folder or a pipe does not.
            if stat.S_ISREG(status.st_mode):
                yield key, status


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yields all entries below a folder but folders; follows no symbolic links to folders, which may lead elsewhere."""
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
        return StorePermissionError(
            f"{path} must be readable, but: {error.strerror} ({whose(path)}); change its permissions"
        )
    return StoreError(f"{path} cannot be read: {error.strerror}; check the path and the disk")


def _writing_error(path: str, error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFullError(
            f"writing {path} needs free space, but: {error.strerror}; free some and run again, finished shards are kept"
        )
    if error.errno in _FORBIDDEN | _NOT_THERE | {errno.EEXIST, errno.EISDIR}:
        return StorePermissionError(
            f"{path} must be writable, but: {error.strerror} ({whose(path)}); choose another folder or change its "
            "permissions"
        )
    return StoreError(f"{path} cannot be written: {error.strerror}; check the path and the disk")
