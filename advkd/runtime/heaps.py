"""How many heaps glibc keeps: by default one per thread.

A thread's own heap is given back to the system whenever it is empty, as after each pass of a network, and its pages are
faulted in again by the next pass: a sixth of the CPU time of a DiT of 2 M parameters, 32 samples at once. And
memory freed in one heap cannot serve another.
"""

import ctypes

_M_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h: the parameter of `mallopt` that limits the number of heaps."""


def limit_heaps(count: int) -> None:
    """Limits the heaps of this process from now on; threads keep the one they have.

    Other C libraries have no such heaps, and nothing is done there.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)
    except (AttributeError, OSError):
        return
