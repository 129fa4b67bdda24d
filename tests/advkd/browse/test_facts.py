"""Figures of a store's page: what pictures clip is counted."""

import numpy as np
import pytest

from storage import digest, open_writer, seal
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
