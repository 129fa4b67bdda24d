"""A long list is shown while it is read, and a store that is there already is opened without waiting for the rest."""

import re
import threading
import time
from pathlib import Path

import pytest

from advkd.browse import catalogue, pages
from storage import digest, store_uri
from storage.records import manifest
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import rows
from tests.advkd.browse.specs import image_spec


@pytest.mark.thorough
def test_the_first_rows_are_there_before_the_last_store_is_read(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [image_spec(base_seed=seed) for seed in range(5)]
    for spec in specs:
        fill(str(tmp_path), spec, 32)
    ordered = sorted(specs, key=lambda spec: store_uri(str(tmp_path), spec))
    slow, gate = store_uri(str(tmp_path), ordered[-1]), threading.Event()
    real = catalogue.summarize

    def summarize(uri: str):
        if uri == slow:
            assert gate.wait(60)
        return real(uri)

    monkeypatch.setattr(catalogue, "summarize", summarize)
    client = opened(str(tmp_path))
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 1.0)
    began = time.monotonic()
    found = client.get("/").text
    assert time.monotonic() - began < 10
    assert 'id="reading"' in found
    names = [digest(spec)[:16] for spec in ordered]
    assert rows(client) == names[:-1]
    monkeypatch.setattr(pages, "_FIRST_ROWS", 2)
    assert rows(client) == names[:2]
    assert rows(client, "/?all") == names[:-1]
    assert client.get(f"/s/{digest(ordered[0])[:16]}").status_code == 200
    gate.set()
    assert client.get(f"/s/{digest(ordered[-1])[:16]}").status_code == 200
    assert 'id="reading"' not in client.get("/").text
    assert rows(client) == names


def test_rows_know_size_and_age_for_sorting(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(str(tmp_path), image_spec(), 32)
    read: list[str] = []
    real = manifest.read_bytes
    monkeypatch.setattr(manifest, "read_bytes", lambda uri: read.append(uri) or real(uri))
    page = opened(str(tmp_path)).get("/").text
    assert read.count(manifest.manifest_uri(store_uri(str(tmp_path), image_spec()))) == 2  # at the start, in the list
    size, written = (float(re.search(f'data-{name}="([^"]*)"', page).group(1)) for name in ("bytes", "written"))
    assert size > 32 * 3 * 64
    assert abs(written - time.time()) < 3600
