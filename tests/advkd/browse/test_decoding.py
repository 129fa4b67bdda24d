"""Latents are shown decoded by the autoencoder that their store keeps, or channel by channel."""

import html
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advkd.browse.display import difference_tiles
from advkd.networks import AutoencoderSpace, keep_decoder
from storage import TrajectorySpec, digest, open_writer, seal
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill, shard_states
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import image_of, sheet, strip
from tests.advkd.browse.specs import image_spec
from tests.advkd.teachers.latents import tiny_kl


@pytest.fixture
def latents(tmp_path: Path) -> tuple[str, TrajectorySpec, AutoencoderSpace]:
    """A store of latents, with its decoder beside it."""
    tiny_kl(in_channels=3).save_pretrained(tmp_path / "vae")
    space = AutoencoderSpace.of(tmp_path / "vae", (4, 8, 8))
    spec = image_spec(sample_shape=(4, 8, 8), space=dict(space.facts))
    root = str(tmp_path / "stores")
    fill(root, spec, 32)
    keep_decoder(root, space)
    return root, spec, space


def test_decoded_pictures_are_those_of_the_autoencoder(latents, opened: Opened) -> None:
    root, spec, space = latents
    name, truth = digest(spec)[:16], shown_states(spec, 0, 4)[0].astype(np.float32)
    client = opened(root, decode=True)
    tiles, _ = sheet(client, name, samples="0-3", t=0, **{"as": "decoded"})
    images = space.decode(torch.from_numpy(truth)).numpy()
    expected = np.clip((images + 1) * 127.5 + 0.5, 0, 255).astype(int)
    np.testing.assert_allclose(tiles.astype(int), expected.transpose(0, 2, 3, 1), atol=1)
    page = client.get(f"/s/{name}/gallery").text
    assert ">decoded<" in page
    assert ">channel 3<" in page
    state, row, *_ = strip(client, name, 2)
    assert (state["note"], row["note"], row["times"]) == ("state", "decoded", [999, 500, 0])
    np.testing.assert_allclose(row["tiles"][0].astype(int), expected.transpose(0, 2, 3, 1)[2], atol=1)
    assert state["tiles"][0].shape == (16, 16)


def test_channels_are_shown_one_by_one(latents, opened: Opened) -> None:
    root, spec, _ = latents
    client, name = opened(root), digest(spec)[:16]
    mosaic, _ = sheet(client, name, samples="0-3", t=0)
    for channel, (row, column) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8)]):
        tiles, _ = sheet(client, name, samples="0-3", t=0, **{"as": str(channel)})
        np.testing.assert_array_equal(tiles, mosaic[:, row : row + 8, column : column + 8])
    refused = client.get(f"/api/sheet/{name}?samples=0&as=decoded")
    assert refused.status_code == 400
    assert "as must be one of all, " in refused.json()["error"]["message"]
    assert ">decoded<" not in client.get(f"/s/{name}/gallery").text


def test_latents_whose_decoder_nobody_kept_are_shown_as_they_are(tmp_path: Path, latents, opened: Opened) -> None:
    _, spec, _ = latents
    fill(str(tmp_path / "bare"), spec, 32)
    client, name = opened(str(tmp_path / "bare"), decode=True), digest(spec)[:16]
    page = client.get(f"/s/{name}/gallery")
    assert page.status_code == 200
    assert ">decoded<" not in page.text
    assert sheet(client, name, samples="0-3", t=0)[0].shape == (4, 16, 16)


def test_every_picture_is_decoded_as_the_wall_is(latents, opened: Opened) -> None:
    root, spec, space = latents
    name, truth = digest(spec)[:16], shown_states(spec, 0, 8)
    client = opened(root, decode=True)
    side = space.image_shape[-1]

    def drawn(sample: int, t: int) -> np.ndarray:
        image = space.decode(torch.from_numpy(truth[t][sample : sample + 1].astype(np.float32))).numpy()[0]
        return np.clip((image + 1) * 127.5 + 0.5, 0, 255).astype(int).transpose(1, 2, 0)

    tiles, _ = sheet(client, name, samples="0-3", t=0)
    np.testing.assert_allclose(tiles[3].astype(int), drawn(3, 0), atol=1)
    strip = image_of(client.get(f"/s/{name}/export.png?samples=3").content)
    step = strip.shape[0] // side
    for k, t in enumerate(spec.timesteps):
        part = strip[:, k * step * side : (k + 1) * step * side][::step, ::step]
        np.testing.assert_allclose(part.astype(int), drawn(3, t), atol=1)
    film = Image.open(io.BytesIO(client.get(f"/s/{name}/export.gif?samples=3").content))
    film.seek(2)
    assert np.abs(np.asarray(film.convert("RGB"))[::step, ::step].astype(int) - drawn(3, 0)).mean() < 12
    page = html.unescape(client.get(f"/s/{name}").text)
    assert re.findall(r"samples=0-3&t=\d+&columns=4", page)
    same = image_of(client.get(f"/api/sheet/{name}?less={name}&samples=0-3&t=0").content)
    assert same.shape == (2 * side, 2 * side, 3)
    assert f'"tile":[{side},{side}]' in html.unescape(client.get(f"/s/{name}/gallery?with={name}").text)


def test_the_list_draws_latents_by_channel_and_says_so(latents, opened: Opened) -> None:
    root, _, _ = latents
    page = opened(root, decode=True).get("/").text
    assert "drawn by channel" in page
    assert page.count("as=all") == 2


def test_differences_are_those_of_the_images(latents, opened: Opened) -> None:
    root, spec, space = latents
    other = replace(spec, signal=(0.01, 0.7, 1.0))
    fill(root, other, 32)
    left, right = (digest(one)[:16] for one in (spec, other))
    states = [torch.from_numpy(shown_states(one, 0, 1)[500].astype(np.float32)) for one in (spec, other)]
    expected = difference_tiles(np.abs(np.subtract(*(space.decode(one).numpy() for one in states))), 2.0)[0]
    route = f"/api/sheet/{left}?less={right}&samples=0&t=500&most=2"
    found = image_of(opened(root, decode=True).get(route).content)
    assert np.abs(found.astype(int) - expected).max() <= 3
    assert found.any()


def test_a_decoder_that_comes_later_is_found_when_the_store_has_changed(tmp_path: Path, opened: Opened) -> None:
    tiny_kl(in_channels=3).save_pretrained(tmp_path / "vae")
    space = AutoencoderSpace.of(tmp_path / "vae", (4, 8, 8))
    spec = image_spec(sample_shape=(4, 8, 8), space=dict(space.facts))
    root, name = str(tmp_path / "stores"), digest(spec)[:16]
    writer = open_writer(root, spec)
    writer.write_shard(0, shard_states(spec, 0))
    client = opened(root, decode=True)
    assert sheet(client, name, samples="0-3", t=0)[0].shape == (4, 16, 16)
    keep_decoder(root, space)
    seal(root, spec, 32)
    store = client.app._app.state.shown.catalogue.store(name)
    store._asked = replace(store._asked, due=0.0)
    assert sheet(client, name, samples="0-3", t=0)[0].shape == (4, *space.image_shape[1:], 3)
    assert ">decoded<" in client.get(f"/s/{name}/gallery").text
