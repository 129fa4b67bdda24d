"""Two sides of a page: only samples of one noise are subtracted, and disagreement is their distance."""

import html
from typing import Any

import numpy as np
import pytest

from storage import digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import image_spec


def test_stores_of_other_shapes_are_not_subtracted(tmp_path, opened: Opened) -> None:
    specs = image_spec(), image_spec(sample_shape=(1, 4, 4))
    for spec in specs:
        fill(str(tmp_path), spec, 32)
    left, right = (digest(spec)[:16] for spec in specs)
    client = opened(str(tmp_path))
    answer = client.get(f"/api/stores/{left}/order?by=distance&to={right}")
    assert answer.status_code == 400
    assert "differ in shape ([1, 8, 8] and [1, 4, 4])" in answer.json()["error"]["message"]
    assert client.get(f"/s/{left}/gallery?with={right}").status_code == 200


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"base_seed": 0}, "base seed (7 and 0)"),
        ({"sigma": (80.0, 0.8, 0.0)}, "scale of the noise ((0.01, 0.99) and (0.01, 80.0))"),
        ({"dtype": "float32"}, "dtype (float16 and float32)"),
        ({"conditioning": {"kind": "labels", "classes": 3, "distribution": "uniform"}}, "differ in condition;"),
    ],
)
def test_samples_of_other_noise_are_not_subtracted(
    tmp_path, opened: Opened, changes: dict[str, Any], fact: str
) -> None:
    specs = image_spec(), image_spec(**changes)
    for spec in specs:
        fill(str(tmp_path), spec, 32)
    left, right = (digest(spec)[:16] for spec in specs)
    client = opened(str(tmp_path))
    for route in (f"stores/{left}/order?by=distance&to={right}", f"sheet/{left}?less={right}&samples=0-3"):
        answer = client.get(f"/api/{route}&t=0")
        assert answer.status_code == 400
        assert fact in answer.json()["error"]["message"]
    page = html.unescape(client.get(f"/s/{left}/gallery?with={right}").text)
    assert fact in page
    assert "apart-wall" not in page
    assert "by disagreement" not in page
    assert 'id="right-wall"' in page


def test_disagreement_is_the_distance_of_both(tmp_path, opened: Opened) -> None:
    one, other = image_spec(), image_spec(timesteps=(999, 500, 0), signal=(0.01, 0.7, 1.0))
    fill(str(tmp_path), one, 64)
    fill(str(tmp_path), other, 32)
    client = opened(str(tmp_path))
    found = client.get(f"/api/stores/{digest(one)[:16]}/order?by=distance&to={digest(other)[:16]}&t=500").json()
    states = [shown_states(spec, 0, 32)[500].astype(np.float64) for spec in (one, other)]
    expected = np.sqrt(((states[0] - states[1]) ** 2).reshape(32, -1).mean(1))
    assert found["samples"] == np.argsort(-expected).tolist()
    np.testing.assert_allclose(found["values"], np.sort(expected)[::-1], atol=1e-4)
    assert not found["whole"]
