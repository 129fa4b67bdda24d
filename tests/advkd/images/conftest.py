from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own: what was found out about pictures is kept there."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ADVKD_CACHE", str(folder))
    return folder
