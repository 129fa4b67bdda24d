import io
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from advkd.files import file_sha256
from advkd.teachers.emoji import package
from advkd.teachers.emoji.package import PACKAGE_URL, emoji_package

CONTENT = b"pictures"


class Registry:
    """Stands for the registry: counts what it is asked for."""

    def __init__(self, content: bytes | None) -> None:
        self.content, self.asked = content, []  # type: ignore[var-annotated]

    def __call__(self, url: str, timeout: float) -> Any:
        self.asked.append(url)
        if self.content is None:
            raise URLError("no network")
        return io.BytesIO(self.content)


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is taken for the package, and a cache that is empty."""
    (file := tmp_path / "package.tgz").write_bytes(CONTENT)
    monkeypatch.setattr(package, "PACKAGE_SHA256", file_sha256(file))
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    return file


def registry(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> Registry:
    monkeypatch.setattr(package, "urlopen", asked := Registry(content))
    return asked


def test_a_given_file_is_taken_if_it_is_the_package(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = registry(monkeypatch, None)
    assert emoji_package(whole) == whole
    whole.write_bytes(b"other pictures")
    with pytest.raises(ValueError, match=r"must be emoji-datasource-google-16\.0\.0\.tgz with sha256"):
        emoji_package(whole)
    assert asked.asked == []


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="which does not exist; fetch https:"):
        emoji_package(tmp_path / "nowhere.tgz")


def test_without_a_file_it_is_downloaded_once(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = registry(monkeypatch, CONTENT)
    copies = [emoji_package(None) for _ in range(2)]
    assert copies[0] == copies[1] != whole
    assert copies[0].read_bytes() == CONTENT
    assert asked.asked == [PACKAGE_URL]
    # A damaged copy is replaced.
    copies[0].write_bytes(b"half")
    assert emoji_package(None).read_bytes() == CONTENT


def test_a_download_of_something_else_is_refused_and_not_kept(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, b"a login page")
    with pytest.raises(ValueError, match=re.escape(f"for {PACKAGE_URL}")):
        emoji_package(None)
    assert not (whole.parent / "cache").exists()


def test_a_registry_that_does_not_answer_says_what_to_do(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, None)
    with pytest.raises(ConnectionError, match=r"no network.*--data FILE"):
        emoji_package(None)
