"""What happens to a store while somebody looks: damage, repair, growth, removal, a server that goes and comes back."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import advkd.browse.store_view as looking
from advkd.browse import api
from advkd.browse.catalogue import Catalogue
from storage import (
    StoreUnreachableError,
    TrajectorySpec,
    digest,
    join,
    open_store,
    open_writer,
    read_bytes,
    seal,
    store_uri,
    write_bytes,
)
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, shard_states
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import grey, sheet
from tests.advkd.browse.specs import image_spec
from tests.faulty_proxy import faulty_proxy
from tests.s3_server import S3Server
from tests.storage.conftest import EVERYWHERE


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROWING_SECONDS", "SEALED_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(looking, name, 0.0)


def damage(uri: str, shard: int) -> tuple[str, bytes]:
    """Zeros instead of one of the shard's objects; where and what it was."""
    address = join(uri, open_store(uri).manifest.shards.keys(shard)[0])
    good = read_bytes(address)
    write_bytes(address, bytes(len(good)))
    return address, good


def eventually(check: Any, seconds: float = 60.0) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestDamage:
    """A corrupt shard spoils its own tiles and says so; repaired, it loses its mark."""

    def test_its_tiles_are_marked_and_the_rest_works(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        fill(root, spec, 96)
        uri, name = store_uri(root, spec), digest(spec)[:16]
        client = opened(uri)
        assert sheet(client, name, samples="32", t=0)[1] == {}  # kept from better times
        address, good = damage(uri, 1)
        assert sheet(client, name, samples="32-63", t=999)[1] != {}
        numbers = [31, 32, 63, 64]
        tiles, marks = sheet(client, name, samples="31,32,63,64", t=999)
        assert marks == {"32": "corrupt", "63": "corrupt"}
        np.testing.assert_array_equal(tiles[[0, 3]], grey(shown_states(spec, 0, 96)[999][[31, 64]]))
        assert len(np.unique(tiles[1])) == 2
        told = client.get(f"/api/stores/{name}/strip/40").json()["error"]
        assert told["kind"] == "corrupt"
        assert f"advkd cache repair {uri}" in told["message"]
        assert client.get(f"/s/{name}/sample/40").status_code == 200
        assert client.get(f"/s/{name}/export.png?samples=40").status_code == 422
        order = client.get(f"/api/stores/{name}/order?by=norm&t=999").json()
        assert (len(order["samples"]), order["unreadable"]) == (64, 32)
        compared = client.get(f"/api/stores/{name}/order?by=distance&to={name}&t=999").json()
        assert (len(compared["samples"]), compared["unreadable"]) == (64, 32)
        write_bytes(address, good)
        for asked in (
            f"/api/stores/{name}/order?by=norm&t=999",
            f"/api/stores/{name}/order?by=distance&to={name}&t=999",
        ):
            order = client.get(asked).json()
            assert (sorted(order["samples"]), order["unreadable"]) == (list(range(96)), 0)
        tiles, marks = sheet(client, name, samples="31,32,63,64", t=999)
        assert marks == {}
        np.testing.assert_array_equal(tiles, grey(shown_states(spec, 0, 96)[999][numbers]))
        assert client.get(f"/api/stores/{name}/strip/40").status_code == 200


class TestGrowth:
    """Seen while it happens, by one server."""

    @EVERYWHERE
    def test_shards_appear_and_the_store_is_sealed(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        writer, uri, name = open_writer(root, spec), store_uri(root, spec), digest(spec)[:16]
        writer.write_shard(0, shard_states(spec, 0))
        client = opened(uri)

        def state() -> Any:
            return client.get(f"/api/stores/{name}/state").json()

        assert (state()["state"], state()["samples"]) == ("growing", 32)
        template = open_store_key(uri, spec, 1)
        write_bytes(join(uri, template), b"not all of it yet")
        assert state()["samples"] == 32
        writer.write_shard(1, shard_states(spec, 1))
        eventually(lambda: state()["samples"] == 64)
        seal(root, spec, 60)
        eventually(lambda: (state()["state"], state()["samples"]) == ("sealed", 60))
        assert "statistics" in client.get(f"/s/{name}").text.lower()
        writer.write_shard(2, shard_states(spec, 2))
        assert state()["samples"] == 60
        seal(root, spec, 96)
        eventually(lambda: state()["samples"] == 96)
        assert sheet(client, name, samples="60-95", t=0)[1] == {}


def open_store_key(uri: str, spec: TrajectorySpec, shard: int) -> str:
    from storage.layouts.table import layout_of

    return layout_of(spec).templates(spec)[0].format(shard=shard)


class TestAway:
    """The page says so, and recovers."""

    def test_a_store_that_is_removed_and_comes_back(self, tmp_path: Path, opened: Opened) -> None:
        spec = image_spec()
        fill(str(tmp_path / "stores"), spec, 32)
        uri, name = store_uri(str(tmp_path / "stores"), spec), digest(spec)[:16]
        client = opened(uri)
        assert client.get(f"/s/{name}").status_code == 200
        shutil.move(uri, tmp_path / "moved")
        eventually(lambda: client.get(f"/s/{name}").status_code == 410)
        page, answer = client.get(f"/s/{name}"), client.get(f"/api/stores/{name}/state")
        assert (page.status_code, answer.status_code) == (410, 410)
        assert "The store is gone" in page.text
        assert answer.json()["error"]["passing"]
        shutil.move(tmp_path / "moved", uri)
        assert client.get(f"/s/{name}").status_code == 200

    def test_s3_goes_and_comes_back(
        self, s3_server: S3Server, s3_root: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.objects.s3.GIVE_UP_SECONDS", 0.2)
        spec = image_spec()
        fill(s3_root, spec, 32)
        name = digest(spec)[:16]
        client: TestClient
        with faulty_proxy(s3_server.endpoint, 0.0) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
            client = opened(s3_root)
            assert client.get(f"/s/{name}").status_code == 200
            proxy.share = 1.0
            proxy._faults = ("503",)
            page = client.get(f"/s/{name}")
            assert page.status_code == 503
            assert "cannot be reached" in page.text
            assert client.get(f"/api/sheet/{name}?samples=0-3").status_code == 503
            proxy.share = 0.0
            assert client.get(f"/s/{name}").status_code == 200
            assert sheet(client, name, samples="0-3", t=0)[1] == {}


class TestMarks:
    """An answer from which samples are missing is not kept."""

    def test_a_distribution_is_made_again_until_it_is_whole(
        self, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = image_spec()
        fill(str(tmp_path), spec, 64)
        client, name = opened(str(tmp_path)), digest(spec)[:16]
        address, good = damage(store_uri(str(tmp_path), spec), 1)
        made: list[str] = []
        original = api.histograms
        monkeypatch.setattr(api, "histograms", lambda view: made.append(view.store.name) or original(view))

        def counted() -> int:
            found = client.get(f"/api/stores/{name}/histograms").json()
            return sum(found["timesteps"]["999"]["counts"])

        assert [counted(), counted()] == [32 * 64, 32 * 64]
        write_bytes(address, good)
        assert [counted(), counted()] == [64 * 64, 64 * 64]
        assert len(made) == 3


def test_who_has_seen_a_store_does_not_wait_while_another_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    catalogue = Catalogue([str(tmp_path)])
    listed = catalogue.stores()
    store = catalogue.store(digest(spec)[:16])
    seen = store.view()
    asking, answer = threading.Event(), threading.Event()

    def slowly(*_: object) -> Any:
        asking.set()
        assert answer.wait(120)
        raise StoreUnreachableError("the endpoint must answer, and does not; try again")

    monkeypatch.setattr(looking, "read_manifest", slowly)
    monkeypatch.setattr("advkd.browse.catalogue.LIST_SECONDS", 0.0)
    monkeypatch.setattr("advkd.browse.catalogue.summarize", slowly)
    catalogue._due = 0.0
    assert store._asked is not None
    store._asked = replace(store._asked, due=0.0)
    for ask, last in ((store.view, seen), (catalogue.stores, listed)):
        asking.clear()
        answer.clear()
        with ThreadPoolExecutor(1) as other:
            first = other.submit(ask)
            assert asking.wait(120)
            assert ask() is last
            answer.set()
            assert first.exception() is None or isinstance(first.exception(), StoreUnreachableError)
