"""One cache folder shared by threads and processes: the bound holds, and a kill at any moment does no harm."""

import multiprocessing
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.reading.disk_cache import DiskCache
from storage.reading.sources import DirectSource
from tests.storage.reading.cached_files import cached, locked, temporary
from tests.storage.reading.test_sources import Counting, Pretend, content, entry_of, make_store, read

pytestmark = pytest.mark.timeout(300)

OBJECTS = 24
SIZE = 20_000
BOUND = 10 * SIZE
"""Less than half of what the processes below read."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.thorough
class TestManyAtOnce:
    """Threads and processes share one folder."""

    def test_threads(self, folder: Path) -> None:
        cache = DiskCache(Pretend(), str(folder), BOUND)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda seed: read_all(cache, seed, rounds=2), range(8)))
        assert sum(cached(folder).values()) <= BOUND
        assert temporary(folder) == []

    def test_spawned_processes_read_right_bytes_within_the_bound(self, folder: Path, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        make_store(uri, [SIZE] * OBJECTS)
        cache = DiskCache(Counting(DirectSource(uri)), str(folder), BOUND)
        with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = [pool.submit(read_all, cache, seed, rounds=3) for seed in range(4)]
            while not all(task.done() for task in running):
                with locked(folder) as total:
                    assert sum(cached(folder).values()) <= total <= BOUND
                time.sleep(0.02)
            asked = [task.result() for task in running]
        # Evictions made them fetch again, and the shared files still spared some fetches.
        assert OBJECTS < sum(asked) < 4 * 3 * OBJECTS
        assert temporary(folder) == []
        with locked(folder) as total:
            assert sum(cached(folder).values()) == total <= BOUND

    def test_a_cache_survives_kills_at_any_moment(self, folder: Path) -> None:
        DiskCache(Pretend(), str(folder), BOUND)
        context, rng = multiprocessing.get_context("forkserver"), random.Random(5)
        context.set_forkserver_preload([__name__])
        victims = [context.Process(target=read_for_ever, args=(str(folder), seed)) for seed in range(10)]
        for victim in victims:
            victim.start()
        for victim in victims:
            wait_for(folder / f"begun-{victim.pid}")
        for victim in victims:
            time.sleep(rng.uniform(0, 0.08))
            victim.kill()
            victim.join(60)
            assert victim.exitcode == -9
            with locked(folder) as total:
                assert sum(cached(folder).values()) <= total <= BOUND
        for path in temporary(folder):
            os.utime(path, (0, 0))
        source = Counting(Pretend())
        cache = DiskCache(source, str(folder), BOUND)
        left = len(cached(folder))
        assert left > 3
        for number in (n for n in range(OBJECTS) if entry_of(n, SIZE).sha256 in cached(folder)):
            assert read(cache, entry_of(number, SIZE)) == content(number, SIZE)
        # What had its final name was whole.
        assert source.asked == []
        read_all(cache, 0, rounds=2)
        assert temporary(folder) == []
        assert sum(cached(folder).values()) <= BOUND


def read_all(cache: DiskCache, seed: int, *, rounds: int) -> int:
    """Read every object in random orders and compare every byte; how many came from a counting source."""
    rng = random.Random(seed)
    entries = [(content(number, SIZE), entry_of(number, SIZE)) for number in range(OBJECTS)]
    for _ in range(rounds):
        rng.shuffle(entries)
        for expected, entry in entries:
            assert read(cache, entry) == expected
    return len(cache._source.asked) if isinstance(cache._source, Counting) else 0


def read_for_ever(folder: str, seed: int) -> None:
    """Insert and evict until killed."""
    cache = DiskCache(Pretend(), folder, BOUND)
    while True:
        read_all(cache, seed, rounds=1)
        (Path(folder) / f"begun-{os.getpid()}").touch()
        seed += 1000


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
