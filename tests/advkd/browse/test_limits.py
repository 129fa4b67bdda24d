"""Crafted stores: refused by name in a list that survives them, without memory or time on their word."""

import html
import time
from pathlib import Path
from typing import Any

import pytest

from advkd.browse.catalogue import too_large
from storage import digest, store_uri
from storage.testing.damage import claim, peak_memory
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import rows
from tests.advkd.browse.specs import image_spec

GRID = tuple(range(20_000, -1, -1))
CRAFTED: dict[str, tuple[dict[str, Any], str]] = {
    "a huge state": ({"sample_shape": (3, 2**15, 2**15)}, "at most 8,388,608 values, got 3,221,225,472 of shape"),
    "a state of channels": ({"sample_shape": (2**40, 1, 1)}, "at most 8,388,608 values"),
    "endless timesteps": (
        {"timesteps": GRID, "signal": [0.5] * 20_000 + [1.0], "sigma": [0.5] * 20_000 + [0.0]},
        "at most 1,024 timesteps, got 20,001",
    ),
    "endless noise": (
        {"noise": "seeded", "sample_shape": (1, 2048, 2048), "resolutions": [[1, 1]] * 3, "shard_samples": 2**20},
        "a shard's has at most 1,073,741,824 values",
    ),
    "an unknown condition": ({"conditioning": {"kind": "smells"}}, "condition is of a known kind"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_store_is_refused_and_named(tmp_path: Path, opened: Opened, what: str) -> None:
    changes, message = CRAFTED[what]
    good = image_spec()
    fill(str(tmp_path), good, 32)
    crafted = image_spec(**changes)
    (Path(store_uri(str(tmp_path), crafted))).mkdir(parents=True)
    fill_identity(str(tmp_path), crafted)
    client = opened(str(tmp_path))
    began = time.monotonic()
    used = peak_memory(lambda: client.get("/"))
    assert used < 32 * 2**20
    assert time.monotonic() - began < 20
    page = html.unescape(client.get("/").text)
    assert message in page
    assert store_uri(str(tmp_path), crafted) in page
    assert digest(good)[:16] in page
    assert client.get(f"/s/{digest(crafted)[:16]}").status_code == 404
    assert too_large(good) is None


def fill_identity(root: str, spec: Any) -> None:
    """A store that grows, of which there is no more than its identity."""
    from storage.records.identity import write_identity

    write_identity(store_uri(root, spec), spec)


def test_objects_decide_what_is_allocated(tmp_path: Path, opened: Opened) -> None:
    small = image_spec()
    fill(str(tmp_path), small, 64)
    claimed = image_spec(sample_shape=(3, 1024, 1024))
    claim(store_uri(str(tmp_path), small), claimed, 64)
    client = opened(str(tmp_path))
    (name,) = rows(client)
    asked = (
        f"/api/sheet/{name}?samples=0-3",
        f"/api/stores/{name}/order?by=norm",
        f"/api/stores/{name}/histograms",
        f"/api/stores/{name}/strip/0",
        f"/s/{name}",
        f"/s/{name}/export.gif?samples=0",
    )
    for route in asked:
        assert peak_memory(lambda route=route: client.get(route)) < 2**24, route
