"""What lies in the folder of a disk cache."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cached(folder: Path) -> dict[str, int]:
    """Sizes of the cached files by name."""
    return {path.name: path.stat().st_size for path in folder.glob("??/*") if not path.name.startswith(".tmp-")}


def temporary(folder: Path) -> list[Path]:
    return list(folder.glob("??/.tmp-*"))


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """While nobody adds or evicts: the total that the lock file holds."""
    with (folder / "total.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield int(file.readline() or 0)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("??/" + "?" * 64)
    return path
