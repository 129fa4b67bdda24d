"""A run on some of a store's timesteps: only these are read, and the student's grid is made of them."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from advkd.diffusion import linear_schedule
from advkd.evaluation.evaluation import EvaluateSpec, evaluate
from advkd.students.loading import load_student
from advkd.teachers import EMBEDDED, SolverSpec
from advkd.training.grid import training_grid
from advkd.training.loop import train
from advkd.trajectories import PrecomputeSpec, precompute
from storage import ShardCorruptError, open_store
from tests.advkd.conftest import mixture_spec, tiny_train
from tests.advkd.evaluation.parts import gaussian_teacher

STORED = (999, 749, 499, 249, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sealed store of `STORED`."""
    return precompute(mixture_spec(tmp_path_factory.mktemp("stores"), captures=4)).uri


@pytest.fixture
def gaussian() -> Iterator[None]:
    """The one-Gaussian teacher under the name "gaussian"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "gaussian", lambda device: gaussian_teacher())
        yield


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, STORED),
        ((999, 499, 0), (999, 499, 0)),
        ((499,), (999, 499, 0)),
        ((749, 249), (999, 749, 249, 0)),
        ((), (999, 0)),
        ((999,), (999, 0)),
        ((0,), (999, 0)),
        ((999, 0), (999, 0)),
    ],
)
def test_a_grid_is_completed_with_noise_and_image(
    store: str, asked: tuple[int, ...] | None, expected: tuple[int, ...]
) -> None:
    facts = open_store(store).manifest.spec
    found, schedule = training_grid(facts, asked), linear_schedule()
    assert found.timesteps == expected
    assert found.signal == pytest.approx([schedule.signal(t) for t in expected])
    assert found.sigma == pytest.approx([schedule.sigma(t) for t in expected])
    for timestep in expected:
        assert found.state_shape(timestep) == facts.state_shape(timestep)
        assert found.encoding(timestep) == facts.encoding(timestep)
    per_state = {"timesteps", "signal", "sigma", "resolutions", "uint8_ranges"}
    assert {k for k, v in asdict(found).items() if v != asdict(facts)[k]} <= per_state


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((500,), r"timesteps must be in its store, got \[500\] where it holds \(999, 749, 499, 249, 0\); choose among"),
        ((999, 750, 1, 0), r"got \[750, 1\] where"),
        ((249, 749), r"must be strictly decreasing, got \(249, 749\); sort them from noise to clean"),
        ((0, 999), "must be strictly decreasing"),
        ((499, 499), "must be strictly decreasing"),
        ((0, 499), "must be strictly decreasing"),
    ],
)
def test_a_grid_that_does_not_fit_its_store_is_refused_at_once(
    store: str, tmp_path: Path, asked: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        next(iter(train(tiny_train(timesteps=asked), store, tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", [(749, 249), ()], ids=["two inner states", "the image alone"])
def test_only_the_chosen_states_are_read(store: str, tmp_path: Path, asked: tuple[int, ...]) -> None:
    """The arrays of the others are gone, and nobody notices; a run on all of them does."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    for timestep in set(STORED[1:-1]) - set(asked):
        shutil.rmtree(copy / "shards" / f"t{timestep:04d}" / "c")
    metrics = list(train(tiny_train(timesteps=asked), str(copy), tmp_path / "run"))
    assert metrics[-1].samples == 96
    assert metrics[-1].adversarial_scale > 0
    student = load_student(tmp_path / "run")
    assert student.timesteps == (999, *asked, 0)
    assert len(student.estimates(torch.zeros(1, 1, 16, 16))) == len(asked) + 1
    with pytest.raises(ShardCorruptError):
        list(train(tiny_train(), str(copy), tmp_path / "all"))


def test_a_student_of_some_timesteps_is_evaluated(tmp_path: Path, gaussian: None) -> None:
    store = precompute(
        PrecomputeSpec(
            teacher="gaussian",
            store=str(tmp_path),
            samples=32,
            solver=SolverSpec(steps=4),
            captures=4,
            shard_samples=16,
            block_samples=8,
        )
    ).uri
    list(train(tiny_train(timesteps=(999, 499, 0), samples=48), store, tmp_path / "run"))
    report = evaluate(
        EvaluateSpec(
            student=str(tmp_path / "run"),
            teacher="gaussian",
            out=str(tmp_path / "report"),
            references=str(tmp_path / "references"),
            samples=96,
            trajectory_samples=96,
        )
    )
    assert report.timesteps == (999, 499, 0)
    assert [one.timestep for one in report.submodules] == [499, 0]
