"""A limit of heaps holds for however many threads; a process that keeps its heap faults memory in once."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such heaps")

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

_AGAIN = """
import resource, sys, threading
from contextlib import nullcontext
from advkd.runtime import kept_heap
def faults_of_100_mb():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(60_000_000), bytearray(40_000_000)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
counts, before = [], resident_mb()
with kept_heap() if sys.argv[1] == "kept" else nullcontext():
    for _ in range(2):
        with kept_heap() if sys.argv[1] == "kept" else nullcontext():
            thread = threading.Thread(target=faults_of_100_mb)
            thread.start()
            thread.join()
print(counts[1], int(resident_mb() - before))
"""


def told(program: str, argument: str) -> str:
    command = [sys.executable, "-c", program, argument]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("limit", "heaps"), [(0, 4), (1, 1), (2, 2)])
def test_threads_share_the_heaps_that_are_allowed(limit: int, heaps: int) -> None:
    assert told(_HEAPS, str(limit)).count("<heap ") == heaps


def test_what_was_freed_is_not_faulted_in_again() -> None:
    faults, _ = map(int, told(_AGAIN, "as it is").split())
    assert faults > 10_000
    faults, held = map(int, told(_AGAIN, "kept").split())
    assert (faults < 1_000, held < 20) == (True, True)
