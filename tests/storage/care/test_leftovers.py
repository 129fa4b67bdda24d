"""Writes that never finished: invisible to readers, found and removed by those who clean up."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3fs

from storage.errors import StoreError
from storage.objects.access import (
    Leftover,
    delete,
    exists,
    join,
    list_leftovers,
    list_objects,
    list_prefix,
    read_bytes,
    remove_leftover,
    write_bytes,
)

pytestmark = pytest.mark.timeout(300)

_KILLED_AT_THE_FLUSH = """
import os, signal, sys
from storage.objects import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_bytes(sys.argv[1], bytes(1000))
"""


class TestOnDisk:
    """Temporary files at any depth."""

    def test_a_killed_write_is_found_and_removed(self, tmp_path: Path) -> None:
        root, key = str(tmp_path), "digest/shards/000001.bin"
        write_bytes(join(root, key), b"old")
        killed = subprocess.run([sys.executable, "-c", _KILLED_AT_THE_FLUSH, join(root, key)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert list_prefix(root) == [key]
        assert read_bytes(join(root, key)) == b"old"
        (found,) = list_leftovers(root)
        assert found.key.startswith("digest/shards/.tmp-000001.bin-")
        assert found.size == 1000
        assert abs(found.started - time.time()) < 30
        assert [leftover.key for leftover in list_leftovers(join(root, "digest"))] == [
            found.key.removeprefix("digest/")
        ]
        remove_leftover(root, found)
        remove_leftover(root, found)
        assert list_leftovers(root) == []
        assert [path.name for path in (tmp_path / "digest/shards").iterdir()] == ["000001.bin"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        assert list_leftovers(str(tmp_path / "nowhere")) == []
        write_bytes(str(tmp_path / "object"), b".")
        assert list_leftovers(str(tmp_path)) == []

    @pytest.mark.parametrize("key", ["object", "../.tmp-x", "a/../../.tmp-x", "/.tmp-x", ".tmp-folder/object"])
    def test_only_temporary_files_below_are_removed(self, tmp_path: Path, key: str) -> None:
        (tmp_path / "store" / ".tmp-folder").mkdir(parents=True)
        for name in (".tmp-x", "store/object", "store/.tmp-folder/object"):
            (tmp_path / name).write_text(".")
        with pytest.raises(ValueError, match="list_leftovers"):
            remove_leftover(str(tmp_path / "store"), Leftover(key=key, started=0.0, size=1))
        assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3


class TestSymbolicLinks:
    """They may lead anywhere, so nothing behind a link to a folder is listed, and nothing removed."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        """A folder with an object and links to a folder, to a file, to nothing and to itself."""
        store, outside = tmp_path / "store", tmp_path / "outside"
        for folder in (store, outside):
            folder.mkdir()
            (folder / "object").write_text(folder.name)
            (folder / ".tmp-object").write_text("half")
        for name, target in {"folder": outside, "file": outside / "object", "dangling": "gone", "loop": "loop"}.items():
            (store / name).symlink_to(target)
        return store

    def test_links_to_files_are_listed_and_no_others(self, store: Path) -> None:
        assert {entry.key: entry.size for entry in list_objects(str(store))} == {"file": 7, "object": 5}
        assert [key for key in ("dangling", "file", "folder", "object") if exists(str(store / key))] == [
            "file",
            "object",
        ]
        assert [leftover.key for leftover in list_leftovers(str(store))] == [".tmp-object"]

    def test_a_link_to_the_root_is_followed(self, store: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(store)
        assert list_prefix(str(tmp_path / "link")) == ["file", "object"]

    def test_deleting_removes_the_link(self, store: Path, tmp_path: Path) -> None:
        for name in ("folder", "file", "dangling"):
            delete(str(store / name))
            assert not (store / name).is_symlink()
        assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == [".tmp-object", "object"]

    def test_no_leftover_is_removed_through_a_link(self, store: Path, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"symbolic link.*by hand"):
            remove_leftover(str(store), Leftover(key="folder/.tmp-object", started=0.0, size=4))
        assert (tmp_path / "outside" / ".tmp-object").exists()


def test_a_large_object_in_s3_is_one_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing is left of a write that was killed: of itself s3fs cuts what is larger than 100 MB into parts."""
    calls: list[str] = []

    async def noted(self: object, method: str, *_: object, **options: object) -> dict[str, str]:
        calls.append(method)
        return {}

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noted)
    write_bytes("s3://bucket/large", bytes(101 * 2**20))
    assert calls == ["put_object"]


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_elsewhere_there_are_none(kind: str, request: pytest.FixtureRequest) -> None:
    root = "memory://leftovers" if kind == "memory" else request.getfixturevalue("s3_root")
    write_bytes(join(root, ".tmp-x"), b".")
    assert list_leftovers(root) == []
    with pytest.raises(ValueError, match="tools"):
        remove_leftover(root, Leftover(key=".tmp-x", started=0.0, size=1))
