"""Caches of closed-form teachers, as `benchmarks.peers` has them, and a recipe whose steps take milliseconds."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import cast

import pytest
import torch

from advkd.diffusion import start_of
from advkd.presets import PRESETS
from advkd.students import StudentSpec
from advkd.teachers import load_teacher
from advkd.training import TrainSpec
from advkd.trajectories import precompute, trajectory_spec
from benchmarks.peers.protocol import PRESET, Problem, Trained, cache_spec
from storage.records import initial_noise
from tests.benchmarks.peers.closed_form import Colours

TRAJECTORIES = 256
Make = Callable[..., Problem]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe with a ninth of our parameters."""
    whole = PRESETS[PRESET]
    assert isinstance(whole.train, TrainSpec)
    train = replace(whole.train, student=StudentSpec(width=16, blocks=1), batch_size=32)
    monkeypatch.setitem(PRESETS, PRESET, replace(whole, train=train))


@pytest.fixture(scope="session")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Problems by the name of a teacher in `closed_form`; each cache is made once."""
    stores: dict[str, str] = {}

    def make(name: str = "colours", steps: int = 60, seed: int = 0) -> Problem:
        source = f"tests.benchmarks.peers.closed_form:{name}"
        if name not in stores:
            root = tmp_path_factory.mktemp("stores")
            stores[name] = precompute(cache_spec(source, str(root), TRAJECTORIES)).uri
        # A clock that counts steps: what a test learns depends on no machine.
        clock = cast("Callable[[], float]", count().__next__)
        return Problem(teacher=load_teacher(source), store=stores[name], seconds=steps, seed=seed, clock=clock)

    return make


def planned(source: str) -> Problem:
    """A problem whose cache is known and not computed: for what is built before anything is trained."""
    teacher = load_teacher(source)
    unmade = Problem(teacher=teacher, store="unmade", seconds=1.0)
    vars(unmade)["facts"] = trajectory_spec(cache_spec(source, "unmade"), teacher)
    return unmade


@torch.no_grad()
def error(problem: Problem, trained: Trained, rows: int = 128) -> float:
    """RMSE of a student's images to the exact flow of noises that are not in the cache, over a pixel's deviation."""
    teacher = problem.teacher
    assert isinstance(teacher, Colours)
    noise = torch.from_numpy(initial_noise(7, 0, rows, teacher.space.shape))
    told = start_of(noise, teacher.conditions, 7, range(rows)).condition
    images = trained.student(noise, **told)
    assert images.shape == noise.shape
    exact = teacher.flow(noise, told)
    return float((images - exact).square().mean().sqrt() / exact.std())
