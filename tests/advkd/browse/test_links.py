"""Permanent links, from what a flow and an evaluation leave behind to the page."""

import pytest

from advkd.text.links import store_link
from storage import digest
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import image_spec


def test_a_link_leads_to_the_store(tmp_path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADVKD_BROWSE_URL", raising=False)
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    client = opened(str(tmp_path))
    assert store_link(digest(spec)).startswith("http://127.0.0.1:8765/s/")
    for link in (store_link(digest(spec)), store_link(digest(spec)[:16])):
        assert client.get(link).status_code == 200
    monkeypatch.setenv("ADVKD_BROWSE_URL", "https://browse.example/")
    assert store_link(digest(spec)) == f"https://browse.example/s/{digest(spec)[:16]}"
