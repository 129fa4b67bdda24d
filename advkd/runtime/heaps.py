"""Which memory glibc keeps: by default a heap per thread, and little of what is freed.

A network's pass frees what the next one needs again. What was given back to the system meanwhile is faulted in anew: a
thread's own heap whenever it is empty, the end of the main heap, and each block above 32 MiB, which has a mapping of
its own. That is a tenth to a fifth of the CPU time of a teacher on a CPU. And memory freed in one heap cannot serve
another.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Parameters of `mallopt` in glibc's malloc.h: bytes kept at the heap's end, blocks with their own mapping, heaps."""


def limit_heaps(count: int) -> None:
    """Limits the heaps of this process from now on; threads keep the one they have.

    Other C libraries have no such heaps, and nothing is done there.
    """
    _set(_M_ARENA_MAX, count)


def keep_heap() -> None:
    """Gives this process one heap from now on, which keeps what is freed; for processes that compute and then end.

    Other C libraries do as they did.
    """
    limit_heaps(1)
    _set(_M_MMAP_MAX, 0)
    _set(_M_TRIM_THRESHOLD, 2**31 - 1)


def _set(parameter: int, value: int) -> None:
    try:
        ctypes.CDLL(None).mallopt(parameter, value)
    except (AttributeError, OSError):
        return
