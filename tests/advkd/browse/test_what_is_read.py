"""What is read for a page: no model without a student, no whole shard for single samples, nothing twice."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from advkd.browse.store_view import StoreView
from storage import ByteCache, TrajectorySpec, digest, open_store, store_uri
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import grey, sheet
from tests.advkd.browse.served import served
from tests.advkd.browse.specs import image_spec, student_folder


@pytest.mark.thorough
def test_the_server_holds_no_torch_without_students(tmp_path: Path) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 64)
    name = digest(spec)[:16]
    routes = [
        "/", f"/s/{name}", f"/s/{name}/gallery", f"/s/{name}/sample/3", f"/s/{name}/export.png?samples=3",
        f"/s/{name}/export.gif?samples=3", f"/s/{name}/export.npz?samples=3", f"/s/{name}/gallery?with={name}",
        "/static/wall.js",
        f"/api/sheet/{name}?samples=0-9", f"/api/stores/{name}/strip/3",
        f"/api/stores/{name}/order?by=norm", f"/api/stores/{name}/state",
        f"/api/stores/{name}/histograms",
        f"/api/stores/{name}/order?by=distance&to={name}",
    ]  # fmt: skip
    code = """
import sys
import advkd.cli.browse
from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec
from starlette.testclient import TestClient

client = TestClient(create_app(BrowseSpec(uris=(sys.argv[1],))), base_url="http://127.0.0.1")
print([route for route in sys.argv[2:] if client.get(route).status_code != 200])
print(sorted({"torch", "diffusers", "prefect"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(tmp_path), *routes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n[]\n"), done.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_memory_with_a_student_is_bounded(tmp_path: Path) -> None:
    spec = image_spec(sample_shape=(3, 32, 32), shard_samples=256, block_samples=32)
    fill(str(tmp_path / "stores"), spec, 1024)
    student, name = student_folder(tmp_path / "tiny", (3, 32, 32)), digest(spec)[:16]
    generator = random.Random(0)
    with (
        served(str(tmp_path / "stores"), "--student", student) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        # A child of another test may be a zombie that nobody has waited for.
        alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        (server,) = [child for child in alive if "browse" in child.cmdline()]
        for number in range(3000):
            first, t = generator.randrange(1000), generator.choice(spec.timesteps)
            routes = (
                f"/api/sheet/{name}~0?samples={first}-{first + 23}&t={t}",
                f"/api/sheet/{name}?samples={first}-{first + 23}&t={t}",
                f"/api/stores/{name}/strip/{first}?student=0",
                f"/api/stores/{name}/order?by=distance&t=0&to={name}~0&seed={number}",
            )
            assert client.get(generator.choices(routes, (10, 10, 10, 0.1))[0]).status_code == 200
        assert server.memory_info().rss < 900e6


def test_looking_at_one_sample_reads_no_whole_shard(
    root: str, spec: TrajectorySpec, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    import storage.reading.ranged
    from storage.reading.sources import DirectSource

    spec = replace(spec, shard_samples=1024)
    fill(root, spec, 2048)
    client, name = opened(root), digest(spec)[:16]
    client.get(f"/s/{name}")
    sizes: list[int] = []
    ranged, whole = storage.reading.ranged.read_range, DirectSource.read_into
    monkeypatch.setattr(
        storage.reading.ranged, "read_range", lambda uri, a, b: sizes.append(b - a) or ranged(uri, a, b)
    )
    monkeypatch.setattr(
        DirectSource, "read_into", lambda self, entry, give: sizes.append(entry.size) or whole(self, entry, give)
    )
    assert client.get(f"/api/stores/{name}/strip/1050").status_code == 200
    shard = sum(entry.size for entry in open_store(store_uri(root, spec)).manifest.shards.entries(1))
    assert 0 < sum(sizes) < 0.2 * shard + 3000
    before = len(sizes)
    assert client.get(f"/api/stores/{name}/strip/1050").status_code == 200
    assert len(sizes) == before


def test_a_sample_of_a_tar_is_read_once_for_all_timesteps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import storage.reading.ranged

    spec = image_spec(layout="webdataset")
    fill(str(tmp_path), spec, 96)
    # Nothing fits into the cache, as with long trajectories.
    store = StoreView(store_uri(str(tmp_path), spec), "store", ByteCache(1))
    asked: list[str] = []
    ranged = storage.reading.ranged.read_range
    monkeypatch.setattr(storage.reading.ranged, "read_range", lambda uri, a, b: asked.append(uri) or ranged(uri, a, b))
    looked = store.view().read([40, 41], spec.timesteps)
    for t in spec.timesteps:
        np.testing.assert_array_equal(looked.states[t], shown_states(spec, 40, 42)[t])
    assert len(asked) == 1


def test_noise_that_is_drawn_again_needs_no_whole_shard(
    root: str, spec: TrajectorySpec, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.reading.sources import DirectSource

    spec = replace(spec, noise="seeded")
    fill(root, spec, 96)
    client, name = opened(root), digest(spec)[:16]
    keys: set[str] = set()
    whole = DirectSource.read_into
    monkeypatch.setattr(
        DirectSource, "read_into", lambda self, entry, give: keys.add(entry.key) or whole(self, entry, give)
    )
    tiles, marks = sheet(client, name, samples="32-41", t=999)
    assert marks == {}
    np.testing.assert_array_equal(tiles[:10], grey(shown_states(spec, 32, 42)[999]))
    assert keys == set()


def test_a_wall_reads_no_whole_shard(
    root: str, spec: TrajectorySpec, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.reading.sources import DirectSource

    spec = replace(spec, shard_samples=256)
    fill(root, spec, 256)
    client, name = opened(root), digest(spec)[:16]
    keys: set[str] = set()
    whole = DirectSource.read_into
    monkeypatch.setattr(
        DirectSource, "read_into", lambda self, entry, give: keys.add(entry.key) or whole(self, entry, give)
    )
    for samples in ("0-99", ",".join(map(str, range(0, 200, 2))), "0-255"):
        tiles, marks = sheet(client, name, samples=samples, t=500)
        assert marks == {}
        assert keys == set()
    np.testing.assert_array_equal(tiles, grey(shown_states(spec, 0, 256)[500]))
