"""Scatter reads: read the bytes of one object, in order, into parts of memory that the caller owns.

This is the loader's hot path when objects are in the page cache: the kernel copies straight into the parts, up to
`_MAX_PARTS` of them in one call, without Python work per byte.
"""

import io
import os
from collections.abc import Sequence

_MAX_PARTS = 1024
"""IOV_MAX of Linux and macOS: the largest number of parts of one preadv."""


def byte_parts(parts: Sequence[memoryview], size: int) -> list[memoryview]:
    """Returns the parts as flat views of bytes, without empty ones.

    Raises:
        ValueError: the lengths do not add up to `size` bytes, or a part is read-only or not contiguous.
    """
    total = sum(part.nbytes for part in parts)
    if total != size:
        raise ValueError(
            f"the parts to read into must add up to the object's {size} bytes, got {total} in {len(parts)} parts; "
            "allocate what the object's record says"
        )
    for part in parts:
        if part.readonly or not part.c_contiguous:
            raise ValueError("a part to read into must be writable and contiguous; pass memoryviews of fresh arrays")
    return [part.cast("B") for part in parts if part.nbytes]


def fill(parts: list[memoryview], data: bytes) -> None:
    """Copies bytes in memory into flat parts of the same total length."""
    source, offset = memoryview(data), 0
    for part in parts:
        part[:] = source[offset : offset + len(part)]
        offset += len(part)


def read_parts(file: io.FileIO, parts: list[memoryview]) -> int:
    """Fills flat, non-empty parts from the start of an unbuffered file; returns the number of bytes read."""
    if not hasattr(os, "preadv"):
        return _read_one_by_one(file, parts)
    offset = 0
    for first in range(0, len(parts), _MAX_PARTS):
        rest = parts[first : first + _MAX_PARTS]
        while rest:
            count = os.preadv(file.fileno(), rest, offset)
            if count == 0:
                return offset
            offset += count
            rest = _after(rest, count)
    return offset


def _after(parts: list[memoryview], count: int) -> list[memoryview]:
    """Returns what is left of parts whose first `count` bytes are filled."""
    for index, part in enumerate(parts):
        if count < len(part):
            return [part[count:], *parts[index + 1 :]]
        count -= len(part)
    return []


def _read_one_by_one(file: io.FileIO, parts: list[memoryview]) -> int:
    total = 0
    for part in parts:
        filled = 0
        while filled < len(part):
            count = file.readinto(part[filled:])
            if not count:
                return total
            filled += count
            total += count
    return total
