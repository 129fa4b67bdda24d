"""Where objects come from: the store itself, the cache in memory, and the choice by name."""

import hashlib
import itertools
import pickle
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StoreNotFoundError
from storage.objects.access import delete, join, write_bytes
from storage.reading.caches import DEFAULT_DISK_BYTES, DEFAULT_MEMORY_BYTES, default_cache_folder, object_source
from storage.reading.disk_cache import DiskCache
from storage.reading.memory_cache import MemoryCache
from storage.reading.sources import DirectSource, ObjectSource
from storage.records.fields import ObjectEntry

pytestmark = pytest.mark.timeout(300)


def content(number: int, size: int) -> bytes:
    """The bytes of pretend object `number`."""
    return np.random.default_rng(number).bytes(size)


def entry_of(number: int, size: int) -> ObjectEntry:
    """Its record."""
    return ObjectEntry(key=f"shards/{number}", size=size, sha256=hashlib.sha256(content(number, size)).hexdigest())


def make_store(uri: str, sizes: Sequence[int]) -> list[ObjectEntry]:
    """Pretend objects at a URI, and their records."""
    entries = [entry_of(number, size) for number, size in enumerate(sizes)]
    for number, entry in enumerate(entries):
        write_bytes(join(uri, entry.key), content(number, entry.size))
    return entries


def read(source: ObjectSource, entry: ObjectEntry, *, parts: int = 3) -> bytes:
    """An object, read into parts of different lengths."""
    whole = bytearray(entry.size)
    cuts = [entry.size * cut // parts for cut in range(parts + 1)]
    view = memoryview(whole)
    found = source.read_into(entry, lambda: [view[a:b] for a, b in itertools.pairwise(cuts)])
    assert found == entry.size
    return bytes(whole)


class Counting:
    """A source that remembers which keys it was asked for."""

    def __init__(self, source: ObjectSource) -> None:
        self.source = source
        self.asked: list[str] = []

    def read_into(self, entry: ObjectEntry, allocate: Callable[[], Sequence[memoryview]]) -> int:
        self.asked.append(entry.key)
        return self.source.read_into(entry, allocate)


class Pretend:
    """A source that makes its objects up, slowly enough in the middle for others to look in."""

    def read_into(self, entry: ObjectEntry, allocate: Callable[[], Sequence[memoryview]]) -> int:
        data, offset = content(int(entry.key.split("/")[1]), entry.size), 0
        for part in allocate():
            part[:] = data[offset : offset + len(part)]
            offset += len(part)
            time.sleep(0.0002)
        return entry.size


def never() -> Sequence[memoryview]:
    raise AssertionError("memory was asked for an object that is not what its record says")


@pytest.fixture(params=["none", "memory", "disk"])
def cache(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestEverySource:
    """One contract, whatever is in front of the store."""

    def test_objects_come_as_they_are_stored_again_and_again(self, cache: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        entries = make_store(uri, [0, 1, 10, 70_000])
        source = object_source(uri, cache, cache_folder=str(tmp_path / "cache"))
        for _ in range(3):
            for number, entry in enumerate(entries):
                assert read(source, entry) == content(number, entry.size)
        reopened = pickle.loads(pickle.dumps(source))
        assert [read(reopened, entry) for entry in entries] == [content(n, e.size) for n, e in enumerate(entries)]

    def test_arrays_of_other_types_are_filled(self, cache: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [96])
        source = object_source(uri, cache, cache_folder=str(tmp_path / "cache"))
        for _ in range(2):
            states = [np.zeros((2, 3), np.float64), np.zeros((4, 3), np.float32)]
            assert source.read_into(entry, lambda: [memoryview(array) for array in states]) == 96  # noqa: B023
            assert b"".join(array.tobytes() for array in states) == content(0, 96)

    def test_a_missing_object_is_an_error_and_a_short_one_is_told(self, cache: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [100])
        source = object_source(uri, cache, cache_folder=str(tmp_path / "cache"))
        write_bytes(join(uri, entry.key), bytes(99))
        assert source.read_into(entry, never) == 99
        (tmp_path / "store" / entry.key).unlink()
        with pytest.raises(StoreNotFoundError):
            source.read_into(entry, never)

    def test_what_has_another_hash_is_passed_on_and_never_kept(self, cache: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [100])
        source = object_source(uri, cache, cache_folder=str(tmp_path / "cache"))
        damaged = bytes(100)
        write_bytes(join(uri, entry.key), damaged)
        assert [read(source, entry) for _ in range(2)] == [damaged, damaged]
        write_bytes(join(uri, entry.key), content(0, 100))
        assert read(source, entry) == content(0, 100)

    def test_parts_that_do_not_add_up_are_refused(self, cache: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [100])
        source = object_source(uri, cache, cache_folder=str(tmp_path / "cache"))
        for _ in range(2):
            with pytest.raises(ValueError, match="add up"):
                source.read_into(entry, lambda: [memoryview(bytearray(99))])
            assert read(source, entry) == content(0, 100)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_an_object_on_s3_is_fetched_once(kind: str, s3_root: str, tmp_path: Path) -> None:
    (entry,) = make_store(s3_root, [300_000])
    source = object_source(s3_root, kind, cache_folder=str(tmp_path))
    assert read(source, entry) == content(0, 300_000)
    delete(join(s3_root, entry.key))
    assert read(source, entry) == content(0, 300_000)


class TestMemoryCache:
    """Bounded, least recently used first, whole objects only."""

    @settings(deadline=None, max_examples=60)
    @given(
        sizes=st.lists(st.integers(0, 40), min_size=4, max_size=8),
        bound=st.integers(30, 130),
        steps=st.lists(st.integers(0, 7), min_size=10, max_size=40),
    )
    def test_it_holds_what_a_model_holds(self, sizes: list[int], bound: int, steps: list[int]) -> None:
        source = Counting(Pretend())
        cache = MemoryCache(source, bound)
        model: OrderedDict[int, int] = OrderedDict()
        for number in (step % len(sizes) for step in steps):
            size, asked, hits, misses = sizes[number], len(source.asked), cache.hits, cache.misses
            assert read(cache, entry_of(number, size), parts=1) == content(number, size)
            known = number in model
            assert len(source.asked) - asked == cache.misses - misses == 1 - (cache.hits - hits) == (not known)
            if known:
                model.move_to_end(number)
            elif size <= bound:
                while sum(model.values()) + size > bound:
                    model.popitem(last=False)
                model[number] = size
            assert cache.held_bytes == sum(model.values()) <= bound

    def test_the_one_read_last_stays(self) -> None:
        source = Counting(Pretend())
        cache = MemoryCache(source, 30)
        for number in (0, 1, 2, 0, 3, 0, 1):
            read(cache, entry_of(number, 10))
        assert source.asked == ["shards/0", "shards/1", "shards/2", "shards/3", "shards/1"]

    def test_an_object_that_two_read_at_once_is_held_once(self) -> None:
        entry = entry_of(1, 10)

        class Overtaken(Pretend):
            overtaking = False

            def read_into(self, entry: ObjectEntry, allocate: Callable[[], Sequence[memoryview]]) -> int:
                if not self.overtaking:
                    self.overtaking = True
                    read(cache, entry)
                return super().read_into(entry, allocate)

        cache = MemoryCache(Overtaken(), 100)
        assert read(cache, entry) == content(1, 10)
        assert (cache.held_bytes, cache.misses) == (10, 2)

    def test_threads_see_whole_objects_and_never_pass_the_bound(self) -> None:
        entries = [entry_of(number, 1000 + number) for number in range(16)]
        expected = [content(number, entry.size) for number, entry in enumerate(entries)]
        cache = MemoryCache(Pretend(), 8 * 1016)

        def work(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(250):
                number = min(int(rng.expovariate(0.3)), 15)
                assert read(cache, entries[number]) == expected[number]
                assert cache.held_bytes <= 8 * 1016

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert cache.hits + cache.misses == 8 * 250
        assert cache.hits > 250
        assert cache.misses > 16

    def test_what_was_served_can_be_changed_without_harm(self) -> None:
        entry, cache = entry_of(1, 10), MemoryCache(Pretend(), 100)
        for _ in range(3):
            own = bytearray(10)
            cache.read_into(entry, lambda: [memoryview(own)])  # noqa: B023
            assert own == content(1, 10)
            own[:] = bytes(10)

    def test_another_process_starts_empty(self) -> None:
        cache = MemoryCache(Pretend(), 100)
        read(cache, entry_of(1, 10))
        reopened = pickle.loads(pickle.dumps(cache))
        assert (cache.held_bytes, reopened.held_bytes) == (10, 0)


class TestChoice:
    """`object_source` by name."""

    def test_each_name_gives_its_own(self, tmp_path: Path) -> None:
        assert isinstance(object_source("memory://a", "none"), DirectSource)
        assert isinstance(object_source("memory://a", "memory"), MemoryCache)
        assert isinstance(object_source("memory://a", "disk", cache_folder=str(tmp_path)), DiskCache)

    def test_the_bound_is_the_one_asked_for(self, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        entries = make_store(uri, [60, 60])
        for cache in ("memory", "disk"):
            source = object_source(uri, cache, cache_bytes=100, cache_folder=str(tmp_path / "cache"))
            for entry in entries:
                read(source, entry)
            kept = [path for path in (tmp_path / "cache").rglob("*") if len(path.name) == 64]
            assert len(kept) == (cache == "disk")
        assert (DEFAULT_MEMORY_BYTES, DEFAULT_DISK_BYTES) == (2147483648, 53687091200)

    def test_an_unknown_name_and_a_bound_of_nothing_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"one of \('none', 'memory', 'disk'\), got 'ram'; choose"):
            object_source("memory://a", "ram")
        for cache in ("none", "memory", "disk"):
            with pytest.raises(ValueError, match="cache_bytes must be positive, got 0; use None"):
                object_source("memory://a", cache, cache_bytes=0)

    def test_the_default_folder_is_where_people_expect_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ADVKD_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        object_source("memory://a", "disk")
        assert (tmp_path / "home/.cache/advkd").is_dir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert default_cache_folder() == str(tmp_path / "xdg/advkd")
        monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "own"))
        assert default_cache_folder() == str(tmp_path / "own")
