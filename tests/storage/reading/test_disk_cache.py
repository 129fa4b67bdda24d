"""The cache on disk: least recently used goes first, the bound holds, damage is never served."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorePermissionError
from storage.objects.access import join, write_bytes
from storage.reading.disk_cache import DiskCache
from storage.reading.sources import DirectSource
from tests.storage.reading.cached_files import cached, locked, only_file, temporary
from tests.storage.reading.test_sources import Counting, Pretend, content, entry_of, make_store, never, read

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class TestLeastRecentlyUsed:
    """Against a model."""

    @settings(deadline=None, max_examples=40)
    @given(
        sizes=st.lists(st.integers(0, 400), min_size=4, max_size=8),
        bound=st.integers(300, 1300),
        steps=st.lists(st.integers(0, 8), min_size=10, max_size=40),
    )
    def test_it_keeps_what_a_model_keeps(self, sizes: list[int], bound: int, steps: list[int]) -> None:
        with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
            folder, source = Path(name), Counting(Pretend())
            cache = DiskCache(source, name, bound)
            entries = [entry_of(number, size) for number, size in enumerate(sizes)]
            model: OrderedDict[str, int] = OrderedDict()
            for step in steps:
                if step == 8:
                    cache = DiskCache(source, name, bound)
                    continue
                number = step % len(sizes)
                entry, asked = entries[number], len(source.asked)
                assert read(cache, entry, parts=1) == content(number, entry.size)
                assert (len(source.asked) == asked) == (entry.sha256 in model)
                if entry.sha256 in model:
                    model.move_to_end(entry.sha256)
                elif entry.size <= bound:
                    if sum(model.values()) + entry.size > bound:
                        while model and sum(model.values()) + entry.size > bound - bound // 16:
                            model.popitem(last=False)
                    model[entry.sha256] = entry.size
                assert cached(folder) == dict(model)
                with locked(folder) as total:
                    assert total == sum(model.values()) <= bound

    def test_the_one_read_last_stays(self, folder: Path) -> None:
        source = Counting(Pretend())
        for number in (0, 1, 2, 0, 3, 0, 1):
            read(DiskCache(source, str(folder), 320), entry_of(number, 100))
        assert source.asked == ["shards/0", "shards/1", "shards/2", "shards/3", "shards/1"]

    def test_an_old_total_is_not_believed(self, folder: Path) -> None:
        for number in range(5):
            read(DiskCache(Pretend(), str(folder), 500), entry_of(number, 100))
        # As after a power failure: the files are on the disk, the number is that of some time ago.
        (folder / "total.lock").write_bytes(b"%020d\n" % 100)
        read(DiskCache(Pretend(), str(folder), 500), entry_of(5, 100))
        assert sum(cached(folder).values()) <= 500

    def test_the_total_is_raised_before_a_file_gets_its_name(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("storage.reading.disk_cache.os.pwrite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read(DiskCache(Pretend(), str(folder), 500), entry_of(1, 100))
        assert cached(folder) == {}
        assert temporary(folder) == []

    def test_an_object_that_two_fetch_at_once_is_counted_once(self, folder: Path) -> None:
        overtaking = DiskCache(Pretend(), str(folder), 500)
        assert read(DiskCache(overtaking, str(folder), 500), entry_of(1, 100)) == content(1, 100)
        with locked(folder) as total:
            assert total == sum(cached(folder).values()) == 100

    def test_a_full_cache_is_not_walked_for_every_insertion(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        walks: list[None] = []
        original = DiskCache._walk
        monkeypatch.setattr(DiskCache, "_walk", lambda cache: (walks.append(None), original(cache))[1])
        cache = DiskCache(Pretend(), str(folder), 64 * 10)
        for number in range(200):
            read(cache, entry_of(number, 10))
        # Once to begin with; then each eviction makes room for 5 of the 136 that come when the cache is full.
        assert len(walks) == 1 + -(-136 // 5)

    def test_a_larger_object_is_passed_through(self, folder: Path) -> None:
        source = Counting(Pretend())
        cache = DiskCache(source, str(folder), 99)
        for _ in range(2):
            assert read(cache, entry_of(1, 100)) == content(1, 100)
        assert len(source.asked) == 2
        assert cached(folder) == {}


class TestDamage:
    """A damaged file is removed and fetched again, never served."""

    @pytest.mark.parametrize("damage", ["changed", "short", "long", "empty"])
    def test_it_is_found_on_re_opening(self, folder: Path, damage: str) -> None:
        source, entry = Counting(Pretend()), entry_of(1, 1000)
        read(DiskCache(source, str(folder), 5000), entry)
        damage_file(only_file(folder), damage)
        for _ in range(2):
            assert read(DiskCache(source, str(folder), 5000), entry) == content(1, 1000)
        assert len(source.asked) == 2
        assert only_file(folder).read_bytes() == content(1, 1000)

    @pytest.mark.parametrize("damage", ["changed", "short", "long", "empty"])
    def test_it_is_found_by_the_process_that_wrote_the_file(self, folder: Path, damage: str) -> None:
        entry = entry_of(1, 1000)
        cache = DiskCache(Pretend(), str(folder), 5000)
        read(cache, entry)
        damage_file(only_file(folder), damage)
        assert read(cache, entry) == content(1, 1000)

    def test_a_wrong_size_is_found_however_often_the_file_was_read(self, folder: Path) -> None:
        source, entry = Counting(Pretend()), entry_of(1, 1000)
        cache = DiskCache(source, str(folder), 5000)
        for _ in range(3):
            read(cache, entry)
        assert len(source.asked) == 1
        damage_file(only_file(folder), "short")
        assert read(cache, entry) == content(1, 1000)
        # The new file is not trusted because the old one was.
        damage_file(only_file(folder), "changed")
        assert read(cache, entry) == content(1, 1000)

    def test_removed_damage_does_not_use_up_the_bound(self, folder: Path) -> None:
        cache = DiskCache(Pretend(), str(folder), 5000)
        for _ in range(20):
            for number in range(5):
                assert read(cache, entry_of(number, 1000)) == content(number, 1000)
            damage_file(next(folder.glob("??/" + "?" * 64)), "short")
        assert len(cached(folder)) >= 4

    def test_what_vanishes_is_fetched_again(self, folder: Path) -> None:
        cache, entry = DiskCache(Pretend(), str(folder), 5000), entry_of(1, 1000)
        for remove in (lambda: only_file(folder).unlink(), lambda: remove_tree(folder)):
            for _ in range(2):
                read(cache, entry)
            remove()
            assert read(cache, entry) == content(1, 1000)
            assert cached(folder) == {entry.sha256: 1000}
            # The new file is not trusted because the old one was.
            damage_file(only_file(folder), "changed")
            assert read(cache, entry) == content(1, 1000)

    def test_what_has_another_hash_at_the_source_is_not_written(self, folder: Path, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [1000])
        write_bytes(join(uri, entry.key), bytes(1000))
        assert read(DiskCache(DirectSource(uri), str(folder), 5000), entry) == bytes(1000)
        assert cached(folder) == {}

    def test_what_can_neither_be_read_nor_removed_is_passed_by(self, folder: Path) -> None:
        cache, entry = DiskCache(Pretend(), str(folder), 5000), entry_of(1, 1000)
        (folder / entry.sha256[:2] / entry.sha256).mkdir(parents=True)
        for _ in range(2):
            assert read(cache, entry) == content(1, 1000)
        assert temporary(folder) == []

    def test_a_wrong_source_behind_a_damaged_file_is_told(self, folder: Path, tmp_path: Path) -> None:
        uri = str(tmp_path / "store")
        (entry,) = make_store(uri, [1000])
        read(DiskCache(DirectSource(uri), str(folder), 5000), entry)
        damage_file(only_file(folder), "short")
        write_bytes(join(uri, entry.key), bytes(7))
        assert DiskCache(DirectSource(uri), str(folder), 5000).read_into(entry, never) == 7
        assert cached(folder) == {}

    def test_a_torn_total_is_counted_anew(self, folder: Path) -> None:
        cache = DiskCache(Pretend(), str(folder), 5000)
        for number, torn in enumerate([b"", b"12", b"x" * 21, bytes(21), b"1" * 40]):
            read(cache, entry_of(2 * number, 900))
            (folder / "total.lock").write_bytes(torn)
            read(cache, entry_of(2 * number + 1, 900))
            with locked(folder) as total:
                assert total == sum(cached(folder).values()) <= 5000


class TestTrouble:
    """Whatever the disk does, reading goes on."""

    def test_a_full_disk_is_told_once_and_reading_goes_on(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = DiskCache(Pretend(), str(folder), 5000)
        read(cache, entry_of(0, 1000))

        def full(*_: object) -> int:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr("storage.objects.local.os.write", full)
        with caplog.at_level(logging.WARNING):
            for number in range(4):
                assert read(cache, entry_of(number, 1000)) == content(number, 1000)
        (record,) = caplog.records
        assert "No space left" in record.getMessage()
        assert temporary(folder) == []
        assert len(cached(folder)) == 1
        monkeypatch.undo()
        read(cache, entry_of(1, 1000))
        assert len(cached(folder)) == 2

    def test_a_folder_that_became_a_file_is_told_once(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache = DiskCache(Pretend(), str(folder), 5000)
        remove_tree(folder)
        folder.write_text("in the way")
        with caplog.at_level(logging.WARNING):
            for number in range(3):
                assert read(cache, entry_of(number, 1000)) == content(number, 1000)
        assert len(caplog.records) == 1

    def test_an_unusable_folder_is_refused_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        for name in ("file", "file/below"):
            with pytest.raises(StorePermissionError, match=r"must be writable and lockable.*choose another"):
                DiskCache(Pretend(), str(tmp_path / name), 5000)

    def test_a_read_only_folder_is_refused_at_once(self, folder: Path) -> None:
        folder.mkdir(mode=0o500)
        code = (
            "import sys; from storage.reading.disk_cache import DiskCache; from tests.unprivileged import *;"
            "respect_permissions(); DiskCache(None, sys.argv[1], 5000)"
        )
        command, checkout = [sys.executable, "-c", code, str(folder)], Path(__file__).parents[3]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
        assert ended.returncode == 1
        assert "StorePermissionError" in ended.stderr
        assert "choose another" in ended.stderr

    def test_a_file_that_may_not_be_touched_is_served(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source, entry = Counting(Pretend()), entry_of(1, 1000)
        read(DiskCache(source, str(folder), 5000), entry)

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError(1, os.strerror(1))

        monkeypatch.setattr("storage.reading.disk_cache.os.utime", forbidden)
        assert read(DiskCache(source, str(folder), 5000), entry) == content(1, 1000)
        assert len(source.asked) == 1

    def test_only_what_caches_wrote_is_ever_removed(self, folder: Path) -> None:
        strangers = [folder / "notes.txt", folder / "ab/notes.txt", folder / "docs" / ("a" * 64), folder / ("b" * 64)]
        for path in strangers:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(9000))
            os.utime(path, (0, 0))
        cache = DiskCache(Pretend(), str(folder), 5000)
        for number in range(12):
            read(cache, entry_of(number, 1000))
        assert all(path.stat().st_size == 9000 for path in strangers)

    def test_stale_leftovers_go_with_an_eviction_and_fresh_ones_stay(self, folder: Path) -> None:
        cache = DiskCache(Pretend(), str(folder), 3000)
        read(cache, entry_of(0, 1000))
        stale, fresh = (only_file(folder).with_name(f".tmp-{name}") for name in ("stale", "fresh"))
        for path, age in ((stale, 3700), (fresh, 3500)):
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
        for number in range(1, 4):
            read(cache, entry_of(number, 1000))
        assert temporary(folder) == [fresh]


def damage_file(path: Path, damage: str) -> None:
    data = path.read_bytes()
    changed = data[:500] + bytes([data[500] ^ 1]) + data[501:]
    path.write_bytes({"changed": changed, "short": data[:-1], "long": data + b"\0", "empty": b""}[damage])


def remove_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def memory_folder() -> str | None:
    """Where flushing costs nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
