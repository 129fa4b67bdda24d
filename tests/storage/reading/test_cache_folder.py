"""Whose cache it is: two users of a machine neither believe nor lock out each other."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from advkd.files import scratch_folder
from storage.errors import StorePermissionError
from storage.objects import write_bytes
from storage.reading import default_cache_folder
from storage.reading.disk_cache import DiskCache
from storage.reading.sources import DirectSource


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir(mode=0o755)
    return tmp_path / "cache"


def test_a_folder_of_another_user_is_shared_by_a_folder_for_each(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache_folder() == str(cache)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    own = cache / f"user-{cache.stat().st_uid + 1}"
    assert default_cache_folder() == str(own)
    own.mkdir()
    with pytest.raises(StorePermissionError, match=r"a cache must belong to the user .* set ADVKD_CACHE"):
        default_cache_folder()


def test_a_folder_that_everybody_writes_to_is_believed_by_nobody(cache: Path) -> None:
    cache.chmod(0o777)
    with pytest.raises(StorePermissionError, match=r"with mode 0777; run `chmod o-w .*/cache`"):
        default_cache_folder()
    cache.chmod(0o775)
    assert default_cache_folder() == str(cache)


def test_the_home_folder_is_meant_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ADVKD_CACHE", "~/kept")
    assert default_cache_folder() == str(tmp_path / "kept")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")
def test_two_users_work_below_one_folder_without_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Path(tempfile.mkdtemp(prefix="advkd-shared-"))
    try:
        shared.chmod(0o1777)
        monkeypatch.setenv("ADVKD_CACHE", str(shared))
        write_bytes(f"{tmp_path}/object", b"content")
        assert [by(uid, lambda: use_the_cache(shared)) for uid in (12345, 12346, 12345)] == [0, 0, 0]
        assert {path.name for path in shared.iterdir()} == {"user-12345", "user-12346"}
        # Planted by the one for the other.
        (shared / "user-12347").mkdir(mode=0o777)
        os.chown(shared / "user-12347", 12345, 12345)
        assert by(12347, lambda: use_the_cache(shared)) == 1
    finally:
        shutil.rmtree(shared)


def use_the_cache(shared: Path) -> None:
    with scratch_folder() as folder:
        assert folder.is_relative_to(shared / f"user-{os.geteuid()}")
        (folder / "file").write_text("x")
    DiskCache(DirectSource("memory://nothing"), default_cache_folder(), 1000)


def by(uid: int, call: Callable[[], None]) -> int:
    """Whether a call fails as another user."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, 0)
            os.setresuid(uid, uid, 0)
            call()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
