"""Latents are shown decoded by the autoencoder that their store keeps, or channel by channel."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.networks import AutoencoderSpace, keep_decoder
from storage import TrajectorySpec, digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import planes, sheet
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
    found = planes(client.get(f"/api/stores/{name}/values/2").content)
    np.testing.assert_allclose(found["teacher", "decoded", 0], images[2], atol=1e-5)


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
