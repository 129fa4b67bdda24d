"""Strips in parts give the figures of all strips together, and progress that counts them all."""

from pathlib import Path

import pytest
import torch

from advkd.evaluation import strips as module
from advkd.evaluation.spec import EvaluateSpec
from advkd.evaluation.strips import all_strips
from advkd.evaluation.submodules import Submodules
from advkd.features import digits_extractor
from advkd.teachers import SolverSpec
from tests.advkd.evaluation.parts import GRID, gaussian_teacher, make_student


def measured(root: Path, progress: list[tuple[int, int]]) -> tuple[Submodules, int]:
    teacher = gaussian_teacher()
    spec = EvaluateSpec(student="", out="", references=str(root), samples=64, trajectory_samples=30)
    student, solver = make_student(teacher), SolverSpec(steps=20)
    submodules = Submodules(GRID, teacher.space, "cpu", "teacher@20", [digits_extractor()])
    parts = 0
    for part in all_strips(student, teacher, solver, spec, lambda done, total: progress.append((done, total))):
        submodules.add(part)
        parts += 1
    return submodules, parts


def test_parts_give_the_figures_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, one = measured(tmp_path / "whole", [])
    monkeypatch.setattr(module, "_BYTES", 1)
    progress: list[tuple[int, int]] = []
    several, four = measured(tmp_path / "several", progress)
    assert (one, four) == (1, 4)
    assert progress[-1] == (30 * 20, 30 * 20)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    torch.testing.assert_close(several.squared_errors, whole.squared_errors)
    assert whole.squared_errors.shape == (30,)
    for ours, theirs in zip(several.scores(), whole.scores(), strict=True):
        assert ours.timestep == theirs.timestep
        for metric, other in zip(ours.metrics(), theirs.metrics(), strict=True):
            assert metric.value == pytest.approx(other.value, rel=1e-4)
            assert (metric.n_fake, metric.reference) == (30, other.reference)


def test_the_error_is_that_of_the_images(tmp_path: Path) -> None:
    submodules, _ = measured(tmp_path, [])
    last = submodules.scores()[-1].rmse_clean.value
    assert submodules.squared_errors.mean().sqrt().item() == pytest.approx(last, rel=1e-6)
