"""Which memory glibc keeps: by default a heap per thread, and little of what is freed.

A network's pass frees what the next one needs again. What was given back to the system meanwhile is faulted in anew: a
thread's own heap whenever it is empty, the end of the main heap, and each block above 32 MiB, which has a mapping of
its own. That is a tenth to a sixth of the CPU time of a teacher's passes; to keep it takes up to a quarter more memory
(docs/benchmarks/heaps.md). And memory freed in one heap cannot serve another.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
"""Parameters of `mallopt` in glibc's malloc.h."""
_MAPPED_BYTES, _MAPPINGS = 32 * 2**20, 65536
"""glibc's own limits: the largest threshold from which a block has a mapping of its own, and how many do."""

_counting = threading.Lock()
_keeping = 0


def limit_heaps(count: int) -> None:
    """Limits the heaps of this process from now on; threads keep the one they have.

    Other C libraries have no such heaps, and nothing is done there.
    """
    _set(_M_ARENA_MAX, count)


@contextmanager
def kept_heap() -> Iterator[None]:
    """Has the whole process keep what it frees inside the block; threads that come have one heap.

    Where the last of several blocks ends, free memory is given back, and large blocks are mapped again: in a heap that
    keeps everything, arrays that live long leave gaps, and distances of an evaluation took twice the memory.
    Other C libraries do as they always do.
    """
    global _keeping
    with _counting:
        _keeping += 1
        if _keeping == 1:
            limit_heaps(1)
            _set(_M_MMAP_MAX, 0)
            _set(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _counting:
            _keeping -= 1
            if _keeping == 0:
                _set(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
                _set(_M_MMAP_MAX, _MAPPINGS)
                _set(_M_TRIM_THRESHOLD, 2 * _MAPPED_BYTES)
                _call("malloc_trim", 0)


def _set(parameter: int, value: int) -> None:
    _call("mallopt", parameter, value)


def _call(name: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL(None), name)(*arguments)
    except (AttributeError, OSError):
        return
