"""What pages are made of, against oracles: both layouts, on a local path and in a real S3 server."""

import html
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from advkd.browse.overview import DIGITS_FINGERPRINTS
from advkd.browse.sheets import fitting_samples, require_fitting
from advkd.teachers import DIGITS_FOLDER, folder_fingerprint, load_teacher
from storage import TrajectorySpec, digest, open_writer, seal, store_uri
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, shard_states
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import arrays, grey, image_of, rows, sheet, strip
from tests.advkd.browse.specs import image_spec
from tests.storage.conftest import EVERYWHERE

SAMPLES = 96


class TestEveryStore:
    """Sheets, numbers, downloads, orders."""

    @EVERYWHERE
    def test_a_sheet_holds_exactly_these_samples(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        fill(root, spec, SAMPLES)
        client, name = opened(root), digest(spec)[:16]
        expected = shown_states(spec, 0, SAMPLES)
        for text, numbers in (("0-9", list(range(10))), ("95,3,40", [95, 3, 40]), ("7", [7])):
            for t in spec.timesteps:
                tiles, marks = sheet(client, name, samples=text, t=t)
                np.testing.assert_array_equal(tiles[: len(numbers)], grey(expected[t][numbers]))
                assert (tiles[len(numbers) :] == 0).all()
                assert marks == {}

    def test_the_numbers_are_the_stored_ones(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        fill(root, spec, SAMPLES)
        client, name = opened(root), digest(spec)[:16]
        expected = shown_states(spec, 0, SAMPLES)
        found = arrays(client, name, 41)
        (state, *_) = strip(client, name, 41)
        assert (state["name"], state["note"], state["times"]) == ("teacher", "state", list(spec.timesteps))
        for t in spec.timesteps:
            np.testing.assert_array_equal(found[f"t{t:04d}"], expected[t][41])
            np.testing.assert_array_equal(state["tiles"][t], grey(expected[t][[41]])[0])
        with np.load(io.BytesIO(client.get(f"/s/{name}/export.npz?samples=41").content), allow_pickle=False) as file:
            assert sorted(file) == ["conditions", "samples", "t0000", "t0500", "t0999"]
            for t in spec.timesteps:
                np.testing.assert_array_equal(file[f"t{t:04d}"], expected[t][41:42])

    def test_orders_are_those_of_all_samples(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        fill(root, spec, SAMPLES)
        client, name = opened(root), digest(spec)[:16]
        values = shown_states(spec, 0, SAMPLES)[500].astype(np.float64).reshape(SAMPLES, -1)
        oracles = {"norm": np.sqrt((values**2).mean(1)), "brightness": values.mean(1), "contrast": values.std(1)}
        for by, expected in oracles.items():
            found = client.get(f"/api/stores/{name}/order", params={"by": by, "t": 500}).json()
            assert found["samples"] == np.argsort(-expected, kind="stable").tolist()
            np.testing.assert_allclose(found["values"], np.sort(expected)[::-1], atol=1e-5)
            assert (found["what"], found["whole"]) == ("all 96 samples", True)

    def test_a_store_that_grows_shows_what_it_has(self, root: str, spec: TrajectorySpec, opened: Opened) -> None:
        writer, uri = open_writer(root, spec), store_uri(root, spec)
        writer.write_shard(0, shard_states(spec, 0))
        writer.write_shard(2, shard_states(spec, 2))
        client, name = opened(uri), digest(spec)[:16]
        tiles, marks = sheet(client, name, samples="30-34", t=0)
        np.testing.assert_array_equal(tiles[:2], grey(shown_states(spec, 30, 32)[0]))
        assert marks == {"32": "pending", "33": "pending", "34": "pending"}
        found = client.get(f"/api/stores/{name}/state").json()
        assert (found["state"], found["samples"]) == ("growing", 96)
        order = client.get(f"/api/stores/{name}/order?by=norm").json()
        assert sorted(order["samples"]) == [*range(32), *range(64, 96)]
        for page in (f"/s/{name}", f"/s/{name}/gallery", f"/s/{name}/sample/3", "/"):
            assert client.get(page).status_code == 200
        assert client.get(f"/s/{name}/export.png?samples=40").status_code == 409
        writer.write_shard(1, shard_states(spec, 1))
        seal(root, spec, SAMPLES)
        client = opened(uri)
        assert client.get(f"/api/stores/{name}/state").json()["state"] == "sealed"
        assert sheet(client, name, samples="30-34", t=0)[1] == {}


def test_pictures_of_colours_and_latents(tmp_path, opened: Opened) -> None:
    colours = image_spec(sample_shape=(3, 4, 4))
    fill(str(tmp_path / "colours"), colours, 32)
    client = opened(str(tmp_path / "colours"))
    tiles, _ = sheet(client, digest(colours)[:16], samples="0-3", t=0)
    expected = shown_states(colours, 0, 4)[0]
    for channel in range(3):
        np.testing.assert_array_equal(tiles[..., channel], grey(expected[:, channel : channel + 1]))
    latents = image_spec(sample_shape=(4, 4, 6))
    manifest = fill(str(tmp_path / "latents"), latents, 32)
    client, name = opened(str(tmp_path / "latents")), digest(latents)[:16]
    tiles, _ = sheet(client, name, samples="0-3", t=0)
    assert tiles.shape == (4, 8, 12)
    found, known = shown_states(latents, 0, 4)[0].astype(np.float64), manifest.statistics[0]
    spread = np.clip((found - known.mean) / (3 * known.std), -1, 1)
    close = np.abs(tiles[:, 4:, :6].astype(float) - (spread[:, 2] + 1) * 127.5)
    assert close.max() <= 1.0
    png = image_of(client.get(f"/s/{name}/export.png?samples=0").content)
    assert png.shape[0] >= 8


def test_downloads_show_the_states_in_order(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    states = shown_states(spec, 5, 6)
    answer = client.get(f"/s/{name}/export.png?samples=5")
    assert answer.headers["content-disposition"] == f'attachment; filename="digits-{name}-sample-5.png"'
    strip = image_of(answer.content)
    assert strip.shape == (160, 3 * 160)
    for k, t in enumerate(spec.timesteps):
        np.testing.assert_array_equal(strip[::20, k * 160 : k * 160 + 160 : 20], grey(states[t])[0])
    film = Image.open(io.BytesIO(client.get(f"/s/{name}/export.gif?samples=5").content))
    assert (film.format, film.n_frames) == ("GIF", 3)
    film.seek(2)
    np.testing.assert_allclose(np.asarray(film.convert("L"))[::20, ::20], grey(states[0])[0], atol=3)
    assert client.get(f"/s/{name}/export.exe?samples=5").status_code == 400


def test_links_are_states(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 64)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    assert client.get(f"/s/{name}/sample?i=1,0").headers["location"] == f"/s/{name}/sample/10"
    one, same = (client.get(f"/api/stores/{name}/order?by=norm&seed={seed}").json()["samples"] for seed in (1, 1))
    assert one == same
    assert sorted(one) == list(range(64))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("samples=", "samples must be numbers from 0 to 31"),
        ("samples=0-32", "got 32"),
        ("samples=0-9999999", "at most 256"),
        ("samples=5-2", "ask for fewer"),
        ("samples=1,x", "got '1,x'"),
        ("samples=0-3&t=998", "t must be one of the timesteps [999, 500, 0], got '998'"),
        ("samples=0-3&as=3", "as must be one of"),
        ("samples=0-3&columns=0", "columns must be a whole number from 1 to 256"),
    ],
)
def test_bad_queries_are_told(tmp_path, opened: Opened, query: str, message: str) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    answer = opened(str(tmp_path)).get(f"/api/sheet/{digest(spec)[:16]}?{query}")
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_sheet_is_bounded_in_pixels(tmp_path, opened: Opened) -> None:
    spec = image_spec(sample_shape=(1, 256, 256))
    fill(str(tmp_path), spec, 96)
    client, sheet_at = opened(str(tmp_path)), f"/api/sheet/{digest(spec)[:16]}"
    assert client.get(f"{sheet_at}?samples=0-63").status_code == 200
    for query in ("samples=0-64", "samples=0&columns=65"):
        answer = client.get(f"{sheet_at}?{query}")
        assert answer.status_code == 400
        assert "of 256 x 256 must hold at most 64 of them" in answer.json()["error"]["message"]


@pytest.mark.parametrize("tiles", [1, 3, 50])
def test_every_picture_of_a_page_fits(tmp_path, opened: Opened, monkeypatch: pytest.MonkeyPatch, tiles: int) -> None:
    monkeypatch.setattr("advkd.browse.sheets.MOST_PIXELS", tiles * 8 * 8)
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    for page, count in (("/", 2), (f"/s/{name}", 3)):
        found = [html.unescape(text) for text in re.findall(r'src="(/api/sheet/[^"]*)"', client.get(page).text)]
        assert [client.get(address).status_code for address in found] == [200] * count


@pytest.mark.parametrize("side", [8, 256, 700, 1024, 2048, 5000])
def test_what_pages_ask_for_fits(side: int) -> None:
    require_fitting(fitting_samples(side, side), None, (side, side))


def test_what_the_seal_changes_is_not_kept_by_browsers(tmp_path, opened: Opened) -> None:
    latents, pictures = image_spec(sample_shape=(4, 4, 4)), image_spec()
    for spec in (latents, pictures):
        open_writer(str(tmp_path), spec).write_shard(0, shard_states(spec, 0))
    client = opened(str(tmp_path))

    def kept(spec: TrajectorySpec) -> str:
        return client.get(f"/api/sheet/{digest(spec)[:16]}?samples=0-3&as=all").headers["cache-control"]

    assert (kept(latents), kept(pictures)) == ("no-store", "private, max-age=3600")
    growing, _ = sheet(client, digest(latents)[:16], samples="0-3")
    seal(str(tmp_path), latents, 32)
    client = opened(str(tmp_path))
    assert kept(latents) == "private, max-age=3600"
    assert (sheet(client, digest(latents)[:16], samples="0-3")[0] != growing).any()
    # The way that another session would choose may be another.
    answer = client.get(f"/api/sheet/{digest(latents)[:16]}?samples=0-3")
    assert answer.headers["cache-control"] == "no-store"


def test_a_store_extended_shows_latents_by_its_new_statistics(tmp_path, opened: Opened) -> None:
    spec = image_spec(sample_shape=(4, 4, 4))
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    sheet(client, name, samples="0-3")
    fill(str(tmp_path), spec, 64)
    store = client.app._app.state.shown.catalogue.store(name)
    store._asked = replace(store._asked, due=0.0)
    expected, _ = sheet(opened(str(tmp_path)), name, samples="0-3")
    np.testing.assert_array_equal(sheet(client, name, samples="0-3")[0], expected)


def test_a_fault_of_ours_is_not_put_on_the_reader(
    tmp_path, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]

    def broken(*_: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("advkd.browse.api.histograms", broken)
    with pytest.raises(ValueError, match="broadcast"):
        client.get(f"/api/stores/{name}/histograms")  # for the server, which logs it
    client = TestClient(client.app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)
    answer = client.get(f"/api/stores/{name}/histograms")
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "fault"
    assert "broadcast" not in answer.text
    assert f"/api/stores/{name}/histograms failed: ValueError" in caplog.text
    assert "content-security-policy" in answer.headers


def test_a_store_without_samples_has_orders_without_samples(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    uri, name = store_uri(str(tmp_path), spec), digest(spec)[:16]
    for key in ("manifest.json", "commits"):
        place = Path(uri) / key
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    client = opened(uri)
    for by in ("number", "norm"):
        assert client.get(f"/api/stores/{name}/order?by={by}").json()["samples"] == []


def test_orders_are_kept_by_what_they_depend_on_alone(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    keys = []
    kept = client.app._app.state.shown.catalogue.kept
    for side in ("", f"{name}~0", "x" * 1000):
        assert client.get(f"/api/stores/{name}/order?by=norm&to={side}").status_code == 200
        keys.append([key for key in kept._held if isinstance(key, tuple) and key[0] == "order"])
    assert keys[0] == keys[1] == keys[2] != []


def test_teachers_of_digits_are_known_without_their_rooms() -> None:
    assert {folder_fingerprint(DIGITS_FOLDER), load_teacher("mixture").fingerprint} == DIGITS_FINGERPRINTS


def test_a_store_of_endless_classes_offers_the_first_thousand(tmp_path, opened: Opened) -> None:
    facts = {"kind": "labels", "classes": 10**12, "distribution": "uniform"}
    spec = image_spec(conditioning=facts)
    fill(str(tmp_path), spec, 32)
    page = opened(str(tmp_path)).get(f"/s/{digest(spec)[:16]}/gallery").text
    assert page.count("<option") < 1100
    assert "the first 1,000 of 1,000,000,000,000" in page


def test_the_same_store_at_two_places_has_two_names(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    for place in ("a", "b"):
        fill(str(tmp_path / place), spec, 32)
    client, name = opened(str(tmp_path / "a"), str(tmp_path / "b")), digest(spec)[:16]
    assert rows(client) == [name, f"{name}-2"]
    found = client.get(f"/api/stores/{name}/order?by=distance&to={name}-2").json()
    assert found["values"] == [0.0] * 32
