"""Garbage of all stores below a root, unfinished writes among it; what lies outside of stores is named and stays."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage import TrajectorySpec, delete, join, store_uri, write_bytes
from storage.care.garbage import UNFINISHED, find_garbage, remove_garbage
from storage.objects.access import list_leftovers
from storage.records.commits import commit_uri
from storage.records.manifest import manifest_uri
from storage.testing.damage import contents
from storage.testing.trajectories import fill, make_spec
from tests.storage.care.cleaning import clean, data_of, write
from tests.storage.conftest import EVERYWHERE

pytestmark = pytest.mark.timeout(300)
DAY = 86_400.0


class TestARoot:
    """All stores below it, one by one."""

    @EVERYWHERE
    def test_every_store_is_cleaned(self, root: str, spec: TrajectorySpec) -> None:
        killed = write(root, spec, 0, 1)
        delete(commit_uri(killed, 1))
        other = replace(spec, base_seed=8, teacher="another")
        fill(root, other, 8)
        write_bytes(join(root, "references", "curve.json"), b"{}")
        before = contents(root)
        lost = {f"{killed.removeprefix(root + '/')}/{key}" for key in data_of(killed, spec, 1)}
        found = clean(root)
        assert sorted(one.uri for one in found) == sorted([killed, store_uri(root, other)])
        assert contents(root) == {key: data for key, data in before.items() if key not in lost}


class TestUnfinishedWrites:
    """Of stores, at any depth; those elsewhere are named and stay."""

    def test_on_disk(self, tmp_path: Path) -> None:
        root, spec = str(tmp_path), make_spec()
        fill(root, spec, 8)
        uri = store_uri(root, spec)
        never = tmp_path / "digits" / ("b" * 16)
        never.mkdir()
        for folder in (Path(uri), Path(uri, "t0500", "c"), never, tmp_path):
            (folder / ".tmp-000001.json-17-abcdef01").write_bytes(bytes(1000))
        before = contents(root)
        old = Path(uri, ".tmp-000001.json-17-abcdef01")
        os.utime(old, (0, time.time() - 2 * DAY))
        found = find_garbage(root, DAY)
        assert [(one.kind, one.key, one.size) for store in found for one in store.old] == [
            (UNFINISHED, ".tmp-000001.json-17-abcdef01", 1000)
        ]
        assert sum(len(remove_garbage(one)) for one in found) == 1
        assert not old.exists()
        found = clean(root)
        assert sorted(one.uri for one in found if one.old) == sorted([uri, str(never)])
        assert [one.foreign for one in found if one.uri == root] == [(".tmp-000001.json-17-abcdef01",)]
        assert [one.key for one in list_leftovers(root)] == [".tmp-000001.json-17-abcdef01"]
        assert contents(root) == before

    def test_of_an_unreadable_store(self, tmp_path: Path, spec: TrajectorySpec) -> None:
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        write_bytes(manifest_uri(uri), b"{")
        Path(uri, ".tmp-x").write_bytes(b".")
        (found,) = clean(uri)
        assert [one.key for one in found.old] == [".tmp-x"]
        assert list_leftovers(uri) == []
