"""Caches of closed-form teachers, as `benchmarks.peers` has them."""

from collections.abc import Callable

import pytest
import torch

from advkd.diffusion import start_of
from advkd.teachers import load_teacher
from advkd.trajectories import precompute
from benchmarks.peers.protocol import Problem, Trained, cache_spec
from storage.records import initial_noise
from tests.benchmarks.peers.closed_form import Colours

TRAJECTORIES = 256
Make = Callable[..., Problem]


@pytest.fixture(scope="session")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Problems by the name of a teacher in `closed_form`; each cache is made once."""
    stores: dict[str, str] = {}

    def make(name: str = "colours", seconds: float = 2.0, seed: int = 0) -> Problem:
        source = f"tests.benchmarks.peers.closed_form:{name}"
        if name not in stores:
            root = tmp_path_factory.mktemp("stores")
            stores[name] = precompute(cache_spec(source, str(root), TRAJECTORIES)).uri
        return Problem(teacher=load_teacher(source), store=stores[name], seconds=seconds, seed=seed)

    return make


@torch.no_grad()
def error(problem: Problem, trained: Trained, count: int = 128) -> float:
    """RMSE of a student's images to the exact flow of noises that are not in the cache, over a pixel's deviation."""
    teacher = problem.teacher
    assert isinstance(teacher, Colours)
    noise = torch.from_numpy(initial_noise(7, 0, count, teacher.space.shape))
    told = start_of(noise, teacher.conditions, 7, range(count)).condition
    images = trained.student(noise, **told)
    assert images.shape == noise.shape
    exact = teacher.flow(noise, told)
    return float((images - exact).square().mean().sqrt() / exact.std())
