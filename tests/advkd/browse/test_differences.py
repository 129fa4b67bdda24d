"""Difference tiles: how far two sides are apart, on a scale that is named, against the numbers of both sides."""

from pathlib import Path

import numpy as np
import torch

from advkd.browse.display import difference_tiles
from advkd.students import LayerwiseStudent
from storage import digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import image_of
from tests.advkd.browse.specs import image_spec, student_folder


def test_the_scale_is_black_at_zero_white_from_the_end_and_rises_between() -> None:
    tiles = difference_tiles(np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 1, 16, 16), 0.5).reshape(256, 3)
    np.testing.assert_array_equal(tiles[0], 0)
    np.testing.assert_array_equal(tiles[128:], 255)
    brightness = tiles.astype(int).sum(1)
    assert (np.diff(brightness[:128]) > 0).all()


def test_colours_are_averaged_and_latents_shown_channel_by_channel() -> None:
    apart = np.zeros((2, 3, 4, 4), dtype=np.float32)
    apart[1, 0] = 0.6
    grey = np.full((1, 1, 4, 4), 0.2, dtype=np.float32)
    np.testing.assert_array_equal(difference_tiles(apart, 0.5)[1], difference_tiles(grey, 0.5)[0])
    assert difference_tiles(np.zeros((2, 4, 8, 8), dtype=np.float32), 0.5).shape == (2, 16, 16, 3)


def test_a_student_against_its_teacher(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 32)
    folder = student_folder(tmp_path / "student")
    client, name = opened(str(tmp_path / "stores"), students=(folder,)), digest(spec)[:16]
    states = shown_states(spec, 0, 32)
    with torch.no_grad():
        noise = torch.from_numpy(states[999].astype(np.float32))
        predicted = LayerwiseStudent.from_pretrained(folder).eval().predictions(noise)[0].numpy()
    route = f"/api/sheet/{name}?less={name}~0&samples=4-7&t=500&most=2"
    shown = image_of(client.get(route).content)
    expected = difference_tiles(np.abs(states[500].astype(np.float32) - predicted)[4:8], 2.0)
    tiles = shown.reshape(2, 8, 2, 8, 3).transpose(0, 2, 1, 3, 4).reshape(4, 8, 8, 3)
    assert np.abs(tiles.astype(int) - expected).max() <= 3
    assert tiles.any()
    same = image_of(client.get(f"/api/sheet/{name}?less={name}&samples=0-3&t=500").content)
    assert not same.any()


def test_what_cannot_be_subtracted_is_refused_and_said_on_the_page(tmp_path: Path, opened: Opened) -> None:
    one, other = image_spec(), image_spec(sample_shape=(1, 4, 4))
    for spec, samples in ((one, 64), (other, 32)):
        fill(str(tmp_path), spec, samples)
    client, left, right = opened(str(tmp_path)), digest(one)[:16], digest(other)[:16]
    refused = client.get(f"/api/sheet/{left}?less={right}&samples=0-3&t=0")
    assert refused.status_code == 400
    assert "differ in shape ([1, 8, 8] and [1, 4, 4])" in refused.json()["error"]["message"]
    page = client.get(f"/s/{left}/gallery?with={right}").text
    assert "differ in shape" in page
    assert "apart-wall" not in page
    assert "apart-wall" in client.get(f"/s/{left}/gallery?with={left}").text
    beyond = client.get(f"/api/sheet/{right}?less={left}&samples=40-41&t=0")
    assert "numbers from 0 to 31" in beyond.json()["error"]["message"]
    scale = client.get(f"/api/sheet/{left}?less={left}&samples=0-1&most=9")
    assert scale.status_code == 400
