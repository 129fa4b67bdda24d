"""`make bench-cache`: the trajectory cache beside other readers, measured.

`python -m benchmarks.cache` runs every part and writes `docs/benchmarks/cache.md` and the table of `docs/cache.md`.
`--part NAME` runs one and prints it; `--scale small` is for trying the scripts out. Neither writes anything.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    cache_loading,
    cache_memory,
    cache_precompute,
    cache_s3,
    cache_shards,
    cache_shuffle,
    cache_threads,
    cache_training,
)
from benchmarks.cache_data import SCALES, Scale
from benchmarks.cache_report import Section, headline_table, page
from benchmarks.measure import DOCS, progress, write, write_between_marks

PARTS: dict[str, Callable[[Path, Scale], Section]] = {
    "loading": cache_loading.run,
    "threads": cache_threads.run,
    "s3": cache_s3.run,
    "training": cache_training.run,
    "precompute": cache_precompute.run,
    "shuffle": cache_shuffle.run,
    "memory": cache_memory.run,
    "shards": cache_shards.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--scale", choices=SCALES, default="full")
    chosen = parser.parse_args()
    sections = []
    with tempfile.TemporaryDirectory(prefix="advkd-bench-") as folder:
        for name in [chosen.part] if chosen.part else PARTS:
            progress(f"{name} ...")
            began = time.perf_counter()
            sections.append(PARTS[name](Path(folder), SCALES[chosen.scale]))
            progress(f"{name}: {time.perf_counter() - began:.0f} s")
    text = page(sections)
    if chosen.part or chosen.scale != "full":
        print(text)
        return
    write("cache", text)
    write_between_marks(DOCS / "cache.md", "bench-cache", headline_table(sections))


if __name__ == "__main__":
    main()
