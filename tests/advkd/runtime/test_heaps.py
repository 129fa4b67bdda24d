"""A process with a limit has no more heaps, however many threads allocate."""

import platform
import subprocess
import sys

import pytest

_HEAPS = """
import ctypes, sys, threading
from advkd.runtime import limit_heaps
if sys.argv[1] != "0":
    limit_heaps(int(sys.argv[1]))
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.fopen.restype, libc.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
together = threading.Barrier(3)
def allocate():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, out)
libc.fclose(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a heap per thread")
@pytest.mark.parametrize(("limit", "heaps"), [(0, 4), (1, 1), (2, 2)])
def test_threads_share_the_heaps_that_are_allowed(limit: int, heaps: int) -> None:
    told = subprocess.run([sys.executable, "-c", _HEAPS, str(limit)], capture_output=True, text=True, check=True).stdout

    assert told.count("<heap ") == heaps
