"""Figures and charts of a store's page: what pictures clip is counted, and ticks fit whatever the values."""

import numpy as np
import pytest

from advkd.browse.facts import _drawing, brief
from storage import StateStatistics, digest, open_writer, seal
from storage.testing.trajectories import shard_states
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import image_spec


def test_values_that_pictures_clip_are_counted(tmp_path, opened: Opened) -> None:
    spec = image_spec()
    writer, states = open_writer(str(tmp_path), spec), shard_states(spec, 0)
    writer.write_shard(0, {t: state * (20000 if t == 0 else 1) for t, state in states.items()})
    seal(str(tmp_path), spec, 32)
    told = opened(str(tmp_path)).get(f"/api/stores/{digest(spec)[:16]}/histograms").json()
    expected = (np.abs((states[0] * 20000).astype(np.float16)) > 1.001).mean()
    assert told["beyond"] == pytest.approx(float(expected))
    assert told["beyond"] > 0.9
    assert brief(float(np.abs(states[0]).max() * 20000)) in opened(str(tmp_path)).get(f"/s/{digest(spec)[:16]}").text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-65784.0, "-65.8k"),
        (0.0, "0"),
        (1.0, "1"),
        (0.0312, "0.0312"),
        (1e308, "1e+308"),
        (-3.4e38, "-3e+38"),
        (2e-7, "2e-07"),
    ],
)
def test_ticks_fit_beside_a_chart(value: float, text: str) -> None:
    assert brief(value) == text


def test_a_chart_of_extremes_has_places_for_all_of_them() -> None:
    wide = StateStatistics(mean=0.0, std=1e308, min=-1e308, max=1e308, max_error=0.0, rms_error=0.0, rms_detail=0.0)
    drawn = _drawing([(999, wide), (0, wide)])
    assert "nan" not in drawn.extremes + drawn.mean + drawn.deviation
    assert "inf" not in drawn.extremes + drawn.mean + drawn.deviation
