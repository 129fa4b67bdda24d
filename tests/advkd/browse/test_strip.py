"""The rows of a trajectory: states, what they imply, and errors on scales that are named, against the numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.browse.display import difference_tiles, enlarged
from advkd.browse.students import clean_image
from advkd.students import load_student
from storage import digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import grey, strip
from tests.advkd.browse.specs import image_spec, student_folder


def test_a_difference_is_blue_below_zero_and_orange_above() -> None:
    apart = np.array([-2, -1, -0.5, 0, 0.5, 1, 2], dtype=np.float32).reshape(1, 1, 1, 7)
    tiles = difference_tiles(apart, 1.0, signed=True)[0, 0].astype(int)
    np.testing.assert_array_equal(tiles[3], 0)
    assert (tiles[0] == tiles[1]).all()
    assert (tiles[5] == tiles[6]).all()
    for cold, warm in ((tiles[1], tiles[5]), (tiles[2], tiles[4])):
        assert cold[2] > cold[1] > cold[0]
        assert warm[0] > warm[1] > warm[2]
    assert tiles[1].sum() > tiles[2].sum() > 0


def test_coarse_tiles_are_repeated() -> None:
    tiles = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    made = enlarged(tiles, (6, 5))
    np.testing.assert_array_equal(made[:, :4], tiles.repeat(2, 1).repeat(3, 2))
    assert not made[:, 4:].any()


@pytest.mark.parametrize("own", [0, 1])
def test_rows_are_those_of_the_numbers(tmp_path: Path, opened: Opened, own: int) -> None:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 32)
    folder = student_folder(tmp_path / "tiny")
    client, name = opened(str(tmp_path / "stores"), students=(folder,)), digest(spec)[:16]
    truth = {t: state.astype(np.float32) for t, state in shown_states(spec, 5, 6).items()}
    with torch.no_grad():
        predicted = load_student(folder).predictions(torch.from_numpy(truth[999]))
    states = {t: state.numpy() for t, state in zip((500, 0), predicted, strict=True)}
    clean = {t: clean_image(truth[t], truth[999], spec, t) for t in (500, 0)}
    theirs = {t: clean_image(states[t], truth[999], spec, t) for t in (500, 0)}
    pictures = {("teacher", "state"): truth, ("teacher", "implied clean"): clean}
    pictures |= {("student", "state"): states, ("student", "implied clean"): theirs}
    errors = {
        "implied, less final": {500: clean[500] - truth[0]},
        "state error": {t: states[t] - truth[t] for t in (500, 0)},
        "clean error": {t: theirs[t] - clean[t] for t in (500, 0)},
    }
    rows = strip(client, name, 5, student=0, own=own)
    assert [row["note"] for row in rows if "scale" not in row] == [note for _, note in pictures]
    for row in rows:
        if "scale" not in row:
            expected = pictures[row["kind"], row["note"]]
            drawn = {t: grey(state)[0].astype(int) for t, state in expected.items()}
        else:
            expected = errors[row["note"]]
            alike = [row["note"]] if own or row["scale"] == "final" else ["state error", "clean error"]
            most = max(np.abs(state).max() for note in alike for state in errors[note].values())
            rms = {note: [np.sqrt((state**2).mean()) for state in errors[note].values()] for note in alike}
            assert row["most"] == pytest.approx(most, rel=1e-4)
            assert row["rms"] == pytest.approx(rms[row["note"]], rel=1e-3)
            assert row["longest"] == pytest.approx(max(max(each) for each in rms.values()), rel=1e-3)
            drawn = {t: difference_tiles(state, most, signed=True)[0].astype(int) for t, state in expected.items()}
        assert row["times"] == list(expected)
        for t, tile in drawn.items():
            assert np.abs(row["tiles"][t].astype(int) - tile).max() <= 3
