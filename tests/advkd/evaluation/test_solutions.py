"""Pieces of a solution: shared, resumed, damaged; never another solution's."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from advkd.distances import FeatureSet
from advkd.evaluation import solutions as module
from advkd.evaluation.solutions import Solutions
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_start, teacher_states
from advkd.features import FeatureExtractor, digits_extractor
from advkd.teachers import SolverSpec
from tests.advkd.evaluation.parts import gaussian_teacher

SOLVER = SolverSpec(kind="unipc", steps=3)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 16)


def solutions(root: Path, **changes: Any) -> Solutions:
    given = {"teacher": gaussian_teacher(), "extractors": (digits_extractor(),), "seed": 0, "samples": 40}
    return Solutions(**{**given, "root": str(root), **changes})


def features(found: tuple[FeatureSet, ...]) -> torch.Tensor:
    assert found[0].features is not None
    return found[0].features


def test_pieces_make_what_one_batch_makes(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    start = evaluation_start(teacher, 0, 40)
    images = teacher_states(teacher, start, SOLVER, clean_timesteps(teacher, SOLVER))[-1]
    expected = digits_extractor()(images)
    (made,) = solutions(tmp_path).sets(SOLVER)
    assert made.count == 40
    torch.testing.assert_close(made.features, expected.half().float(), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(made.moments.mean, expected.double().mean(0), rtol=1e-4, atol=1e-4)
    assert made.name == "teacher@3 unipc"


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    passes: list[int] = []
    first = solutions(tmp_path)
    assert first.missing(SOLVER) == [0, 1, 2]
    assert first.missing_passes(SOLVER) == 3 * 40
    assert first.share(SOLVER, 1, passes.append)
    assert sum(passes) == 3 * 16
    # A run that was ended after one piece goes on with the others.
    again = solutions(tmp_path)
    assert again.missing(SOLVER) == [0, 2]
    made = again.sets(SOLVER, passes.append)
    assert sum(passes) == 3 * 40
    assert again.missing(SOLVER) == []
    assert torch.equal(features(solutions(tmp_path).sets(SOLVER, passes.append)), features(made))
    assert sum(passes) == 3 * 40
    assert [path.name for path in (tmp_path / "references").iterdir() if path.is_file()] != []
    assert list((tmp_path / "references" / "pieces").iterdir()) == []


def test_an_ended_run_s_set_is_that_of_an_uninterrupted_one(tmp_path: Path) -> None:
    resumed = solutions(tmp_path / "resumed")
    resumed.share(SOLVER, 2)
    resumed.share(SOLVER, 0)
    (there,), (here,) = resumed.sets(SOLVER), solutions(tmp_path / "whole").sets(SOLVER)
    assert torch.equal(features((there,)), features((here,)))
    assert torch.equal(there.moments.covariance, here.moments.covariance)


def test_two_runs_share_the_pieces(tmp_path: Path) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: solutions(tmp_path).sets(SOLVER, counts.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == 3 * 40


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_file_is_computed_again(tmp_path: Path, whole: bool) -> None:
    first = solutions(tmp_path)
    expected = features(solutions(tmp_path / "other").sets(SOLVER))
    if whole:
        first.sets(SOLVER)
    else:
        first.share(SOLVER, 1)
    folder = tmp_path / "references" if whole else tmp_path / "references" / "pieces"
    (path,) = [entry for entry in folder.iterdir() if entry.suffix == ".npz"]
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(features(solutions(tmp_path).sets(SOLVER)), expected)


def test_another_solver_seed_count_teacher_or_extractor_has_files_of_its_own(tmp_path: Path) -> None:
    """Otherwise a figure would be measured against something else than it says."""
    solutions(tmp_path).sets(SOLVER)
    other = FeatureExtractor("digits", "0" * 64, 16, lambda images: images.mean((1, 3)))
    changes: list[dict[str, Any]] = [
        {"seed": 1},
        {"samples": 39},
        {"teacher": gaussian_teacher(dims=9)},
        {"extractors": (other,)},
    ]
    for change in changes:
        assert solutions(tmp_path, **change).missing(SOLVER), change
    for solver in (SolverSpec(kind="unipc", steps=4), SolverSpec(kind="dpmpp", steps=3)):
        assert solutions(tmp_path).missing(solver)


def test_images_of_many_pixels_come_in_smaller_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", 10 * 16 * 16 * 4)
    assert solutions(tmp_path).missing(SOLVER) == [0, 1, 2, 3]
