"""The map is the plane of the two largest principal components; the error curve is the students' own."""

from pathlib import Path

import numpy as np
import torch

from advkd.browse.overview import components, pooled
from advkd.features.digits import digits_extractor
from advkd.students import load_student
from storage import digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import digits_spec, image_spec, student_folder


def test_the_axes_are_those_of_the_largest_variance() -> None:
    generator = np.random.default_rng(0)
    turn, _ = np.linalg.qr(generator.standard_normal((5, 5)))
    spread = generator.standard_normal((4000, 5)) * [9.0, 4.0, 1.0, 0.5, 0.1]
    mean, axes, shares = components(spread @ turn.T + 3.0)
    np.testing.assert_allclose(np.abs(axes.T @ turn[:, :2]), np.eye(2), atol=0.02)
    np.testing.assert_allclose(mean, 3.0, atol=0.5)
    np.testing.assert_allclose(shares, [81 / 98.26, 16 / 98.26], atol=0.02)


def test_samples_that_are_all_the_same_lie_at_one_place() -> None:
    mean, axes, shares = components(np.ones((7, 1)))
    assert ((np.ones((7, 1)) - mean) @ axes == 0).all()
    assert shares == (0.0, 0.0)


def test_pooling_keeps_the_mean_and_bounds_the_size() -> None:
    states = np.random.default_rng(0).standard_normal((3, 2, 32, 16)).astype(np.float16)
    made = pooled(states)
    assert made.shape == (3, 2 * 8 * 8)
    exact = states.astype(np.float64).reshape(3, 2, 8, 4, 8, 2).mean((3, 5)).reshape(3, -1)
    np.testing.assert_allclose(made, exact, atol=1e-6)
    assert pooled(states[..., :3]).shape == (3, 2 * 8 * 3)


def test_teacher_and_student_share_the_components_of_the_clean_states(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 96)
    student = student_folder(tmp_path / "tiny")
    client, name = opened(str(tmp_path / "stores"), students=(student,)), digest(spec)[:16]
    truth = {t: state.astype(np.float64) for t, state in shown_states(spec, 0, 96).items()}
    flat = truth[0].reshape(96, -1)
    _, _, rows = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    with torch.no_grad():
        predicted = load_student(student).predictions(torch.from_numpy(truth[999].astype(np.float32)))[-1].numpy()
    found = client.get(f"/api/stores/{name}/map?t=0&student=0").json()
    assert found["samples"] == list(range(96))
    assert found["what"] == "all 96 samples"
    for who, states in (("teacher", flat), ("student", predicted.reshape(96, -1))):
        expected = (states - flat.mean(0)) @ rows[:2].T
        signs = np.sign(np.sum(np.array(found[who]) * expected, axis=0))
        np.testing.assert_allclose(found[who], expected * signs, atol=2e-3)
    assert "pixels pooled to at most 8x8, not the evaluation's features" in found["how"]
    other = client.get(f"/api/stores/{name}/map?t=500").json()
    assert other["how"].startswith("clean estimates at t = 500")
    assert other["student"] == []
    assert client.get(f"/api/stores/{name}/map?t=999&student=0").status_code == 400


def test_digits_are_placed_by_what_the_evaluation_reads(tmp_path: Path, opened: Opened) -> None:
    spec = digits_spec()
    fill(str(tmp_path), spec, 64)
    found = opened(str(tmp_path)).get(f"/api/stores/{digest(spec)[:16]}/map").json()
    assert "the evaluation's features (digit classifier)" in found["how"]
    features = digits_extractor()(torch.from_numpy(shown_states(spec, 0, 64)[0].astype(np.float32))).numpy()
    exact = features.astype(np.float64)
    mean, axes, _ = components(exact)
    np.testing.assert_allclose(found["teacher"], (exact - mean) @ axes, atol=1e-2)


def test_an_error_curve_is_the_root_of_the_mean_square(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 64)
    student = student_folder(tmp_path / "tiny")
    client = opened(str(tmp_path / "stores"), students=(student,))
    found = client.get(f"/api/stores/{digest(spec)[:16]}/errors?student=0").json()
    truth = shown_states(spec, 0, 64)
    with torch.no_grad():
        predicted = load_student(student).predictions(torch.from_numpy(truth[999].astype(np.float32)))
    assert [t for t, _ in found["errors"]] == [500, 0]
    for (t, error), state in zip(found["errors"], predicted, strict=True):
        np.testing.assert_allclose(error, _rms(state.numpy() - truth[t]), rtol=1e-5)
    assert found["what"] == "all 64 samples"


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))
