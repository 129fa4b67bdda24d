"""What is observed of a run: by hand on constructed tensors, without a trace in training, the same after a kill."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advkd.students.loading import load_student
from advkd.training.checkpoint import checkpoints, run_identity
from advkd.training.data import TrajectoryBatch
from advkd.training.distributed import ALONE
from advkd.training.loop import train
from advkd.training.methods.protocol import Comparison, Comparisons
from advkd.training.monitors import gradient_norm, observe, spread
from advkd.training.observation import Observation, SubmoduleObservation, observations_from_json, observations_to_json
from advkd.training.observer import LOG
from tests.advkd.conftest import tiny_train
from tests.advkd.training.test_loop import hashes, run

EVERY = 16


def lines(out: Path) -> list[Observation]:
    return [Observation.from_json(line) for line in (out / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(mixture_store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("undisturbed")
    run(tiny_train(monitor_every=EVERY), mixture_store, out)
    return out


# -- by hand ----------------------------------------------------------------------------------------------------------


def constructed(views: Comparisons, student: nn.Module, discriminator: nn.Module) -> Any:
    """A method that shows these views, whatever the batch."""
    return SimpleNamespace(
        state=SimpleNamespace(student=student, discriminator=discriminator, samples=40),
        processes=ALONE,
        store=SimpleNamespace(timesteps=(999, 500, 0)),
        comparisons=lambda batch: views,
    )


def images(*values: float) -> Tensor:
    """One image of 1x1x4 with equal pixels for each value."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 1, 4)


BATCH = TrajectoryBatch(noise=torch.zeros(3, 1), states=())


def test_spread_is_the_mean_distance_of_all_pairs() -> None:
    # Distances 2, 6 and 4 (each pixel's difference times sqrt(4)).
    assert spread(images(0.0, 1.0, 3.0)).item() == pytest.approx((2 + 6 + 4) / 3)
    assert spread(images(1.0, 1.0, 1.0)).item() == 0.0


def test_an_observation_by_hand() -> None:
    real, fake = images(0.0, 1.0, 3.0), images(0.5, 0.5, 2.0)
    views = Comparisons(
        inputs=torch.tensor([1.0, 3.0]).view(2, 1),
        submodules=(
            Comparison(real, fake, None),
            Comparison(real, fake, lambda shown: 2.0 * shown.mean((1, 2, 3)) + 7.0),
        ),
    )
    student, discriminator = nn.Linear(2, 1), nn.Linear(1, 1)
    student.weight.grad, student.bias.grad = torch.tensor([[2.0, 3.0]]), torch.tensor([6.0])
    seen = observe(constructed(views, student, discriminator), BATCH)
    assert seen.samples == 40
    assert [part.timestep for part in seen.submodules] == [500, 0]
    for part in seen.submodules:
        assert part.student_mean == pytest.approx(1.0)
        assert part.student_std == pytest.approx(math.sqrt(0.5))
        assert part.teacher_mean == pytest.approx(4 / 3)
        assert part.teacher_std == pytest.approx(math.sqrt(14 / 9))
        # Distances 0, 3, 3 over 2, 6, 4.
        assert part.spread == pytest.approx(6 / 12)
    assert seen.submodules[0].margin is None
    assert seen.submodules[1].margin == pytest.approx(2.0 * (4 / 3 - 1.0), rel=1e-5)
    assert seen.student_gradient == pytest.approx(7.0)
    assert seen.discriminator_gradient is None
    assert (seen.input_mean, seen.input_std) == pytest.approx((2.0, 1.0))


def test_gradients_stay_as_they_are_after_an_observation() -> None:
    network = nn.Linear(2, 1)
    assert gradient_norm(network).item() == 0.0
    network.weight.grad = torch.tensor([[3.0, 4.0]])
    observe(constructed(Comparisons(torch.zeros(2, 1), ()), network, nn.Linear(1, 1)), BATCH)
    assert torch.equal(network.weight.grad, torch.tensor([[3.0, 4.0]]))


def test_a_pass_in_training_mode_leaves_averages_and_random_states_alone() -> None:
    """As in a student with batch norm, or one that drops out."""
    student = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    method = constructed(Comparisons(torch.zeros(2, 1), ()), student, nn.Linear(1, 1))
    random = torch.random.get_rng_state()

    def comparisons(batch: TrajectoryBatch) -> Comparisons:
        student(torch.randn(4, 1) + 5.0)
        return Comparisons(torch.zeros(2, 1), ())

    method.comparisons = comparisons
    observe(method, BATCH)
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_single_image_has_no_spread() -> None:
    views = Comparisons(torch.zeros(1, 1), (Comparison(images(1.0), images(2.0), None),))
    seen = observe(constructed(views, nn.Linear(1, 1), nn.Linear(1, 1)), BATCH)
    assert seen.submodules[0].spread is None
    assert seen.not_finite() == []


def test_what_is_not_finite_has_a_name() -> None:
    views = Comparisons(torch.zeros(2, 1), (Comparison(images(1.0, 2.0), images(2.0, math.inf), None),))
    seen = observe(constructed(views, nn.Linear(1, 1), nn.Linear(1, 1)), BATCH)
    assert seen.not_finite() == [f"submodules[0].{name}" for name in ("student_mean", "student_std", "spread")]


# -- in a run ---------------------------------------------------------------------------------------------------------


def test_a_run_is_observed_at_its_instants_and_at_its_end(undisturbed: Path) -> None:
    found = lines(undisturbed)
    assert [seen.samples for seen in found] == [16, 32, 48, 64, 80, 96]
    grid = load_student(undisturbed).timesteps
    for seen in found:
        assert tuple(part.timestep for part in seen.submodules) == grid[1:]
        playing = seen.samples > 48
        assert all((part.margin is not None) == playing for part in seen.submodules)
        assert (seen.discriminator_gradient is not None) == playing
        assert seen.student_gradient > 0
        # 8 noises of 256 pixels: 5 standard errors.
        assert abs(seen.input_mean) < 0.12
        assert abs(seen.input_std - 1.0) < 0.08


def test_the_student_s_folder_has_them_all_and_loads(undisturbed: Path) -> None:
    assert list(observations_from_json((undisturbed / "student" / "monitors.json").read_text())) == lines(undisturbed)
    assert load_student(undisturbed / "student")(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_observations_change_no_weight(mixture_store: str, tmp_path: Path, precision: str) -> None:
    found = []
    for every in (8, 24, 1000):
        run(tiny_train(monitor_every=every, precision=precision), mixture_store, tmp_path / str(every))
        found.append(hashes(tmp_path / str(every)))
        assert len(lines(tmp_path / str(every))) == {8: 12, 24: 4, 1000: 1}[every]
        del found[-1]["monitors.json"]
    assert found[0] == found[1] == found[2]


def test_how_often_is_no_part_of_what_a_run_is() -> None:
    assert run_identity(tiny_train(monitor_every=7), "digest") == run_identity(tiny_train(), "digest")


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_how_often_is_a_positive_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"TrainSpec\.monitor_every must be a (positive )?whole number, got"):
        tiny_train(monitor_every=value)


@pytest.mark.thorough
@pytest.mark.parametrize("stops", [(8,), (24,), (40, 56), (64, 88), (96,)])
def test_a_resumed_run_has_the_file_of_an_undisturbed_one(
    undisturbed: Path, mixture_store: str, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    spec = tiny_train(monitor_every=EVERY)
    for stop in stops:
        run(spec, mixture_store, tmp_path, stop)
    run(spec, mixture_store, tmp_path)
    assert (tmp_path / LOG).read_bytes() == (undisturbed / LOG).read_bytes()
    assert hashes(tmp_path) == hashes(undisturbed)


@pytest.mark.parametrize("torn", [b'{"samples": 6', b'{"samples": 64}\n', b"\x00\xff\n", b"\n"])
def test_a_torn_line_is_cut(undisturbed: Path, mixture_store: str, tmp_path: Path, torn: bytes) -> None:
    spec = tiny_train(monitor_every=EVERY)
    run(spec, mixture_store, tmp_path, 56)
    with (tmp_path / LOG).open("ab") as log:
        log.write(torn)
    next(iter(train(spec, mixture_store, tmp_path)))
    assert [seen.samples for seen in lines(tmp_path)] == [16, 32, 48]
    run(spec, mixture_store, tmp_path)
    assert (tmp_path / LOG).read_bytes() == (undisturbed / LOG).read_bytes()


def test_without_a_checkpoint_nothing_of_the_file_is_kept(mixture_store: str, tmp_path: Path) -> None:
    spec = tiny_train(monitor_every=8)
    run(spec, mixture_store, tmp_path, 16)
    assert [seen.samples for seen in lines(tmp_path)] == [8, 16]
    assert checkpoints(tmp_path) == []
    run(spec, mixture_store, tmp_path, 8)
    assert [seen.samples for seen in lines(tmp_path)] == [8]


def test_parts_of_a_batch_are_observed_in_their_size(
    mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import advkd.training.observer as watch

    asked = []

    def noted(method: Any, batch: TrajectoryBatch, rows: int) -> Observation:
        asked.append(rows)
        return observe(method, batch, rows)

    monkeypatch.setattr(watch, "observe", noted)
    for accumulate, rows in ((2, 4), (8, 2)):
        run(tiny_train(accumulate=accumulate, samples=16), mixture_store, tmp_path / str(accumulate))
        assert asked.pop() == rows


# -- as JSON ----------------------------------------------------------------------------------------------------------


def submodule(**changes: Any) -> SubmoduleObservation:
    facts = {"student_mean": 0.1, "student_std": 0.9, "teacher_mean": -1e-9, "teacher_std": 1 / 3, "spread": 0.7}
    return SubmoduleObservation(**({"timestep": 0, "margin": 0.5} | facts | changes))


def observation(*parts: SubmoduleObservation, **changes: Any) -> Observation:
    facts = {
        "samples": 100,
        "student_gradient": 1.0,
        "discriminator_gradient": 2.0,
        "input_mean": 0.0,
        "input_std": 1.0,
    }
    return Observation(submodules=parts or (submodule(),), **(facts | changes))


def test_observations_go_through_json() -> None:
    found = (
        observation(submodule(timestep=500, margin=None, spread=None), submodule(), discriminator_gradient=None),
        observation(samples=200, student_gradient=1e-30),
    )
    assert tuple(Observation.from_json(one.to_json()) for one in found) == found
    assert observations_from_json(observations_to_json(found)) == found
    assert observations_from_json(observations_to_json(())) == ()
    assert "\n" not in found[0].to_json()
    assert len(json.loads(observations_to_json(found))) == 2


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '{"samples": 1}', "null"])
def test_another_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|Expecting"):
        observations_from_json(text)
    with pytest.raises(ValueError, match=r"must|Expecting"):
        Observation.from_json(text)
