"""`python -m benchmarks.peak_memory make demo`: runs a command, prints the peak memory of all its processes together.

Proportional set size (pages that processes share are counted once), sampled twice a second.
"""

import subprocess
import sys
import time

import psutil

SAMPLE_SECONDS = 0.5


def tree_memory(root: psutil.Process) -> int:
    """Bytes of a process and its descendants; those that end meanwhile count nothing."""
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def main() -> None:
    command = subprocess.Popen(sys.argv[1:])
    peak = 0
    while command.poll() is None:
        try:
            peak = max(peak, tree_memory(psutil.Process(command.pid)))
        except psutil.NoSuchProcess:
            break
        time.sleep(SAMPLE_SECONDS)
    print(f"peak memory: {peak / 1e9:.2f} GB", file=sys.stderr)
    sys.exit(command.wait())


if __name__ == "__main__":
    main()
