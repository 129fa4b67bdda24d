"""Whose cache it is: two users of a machine neither believe nor lock out each other."""

import os
from pathlib import Path

import pytest

from storage.errors import StorePermissionError
from storage.reading import default_cache_folder


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
