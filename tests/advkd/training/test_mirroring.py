"""Mirroring: what a symmetric teacher does itself, whole trajectories, drawn from seed and clock alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from advkd.diffusion import Start
from advkd.presets import Changes, fitted, preset
from advkd.students import load_student
from advkd.teachers import SolverSpec
from advkd.teachers.mixture import Mixture, MixtureTeacher
from advkd.training import train, train_spec_from_json
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.table import build_method
from advkd.training.mirroring import check_mirrored, mirrored
from storage.testing.trajectories import make_spec
from tests.advkd.conftest import tiny_train

CLASSES = {"kind": "labels", "classes": 3, "distribution": "uniform"}
LATENTS = {"kind": "latents"}


def batch_of(rows: int = 8) -> TrajectoryBatch:
    drawn = torch.randn(3, rows, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return TrajectoryBatch(drawn[0], (drawn[1], drawn[2]), {"class_labels": torch.arange(rows) % 3})


def turned(batch: TrajectoryBatch, made: TrajectoryBatch) -> list[bool]:
    """Which rows are mirrored; each must be, or not be, in all of its states."""
    found = []
    for row in range(len(batch.noise)):
        pairs = zip((batch.noise, *batch.states), (made.noise, *made.states), strict=True)
        kinds = {(torch.equal(a[row], b[row]), torch.equal(a[row].flip(-1), b[row])) for a, b in pairs}
        assert kinds in ({(True, False)}, {(False, True)})
        found.append(kinds == {(False, True)})
    return found


def test_a_symmetric_teacher_leads_mirrored_noise_to_the_mirrored_image() -> None:
    shape = (1, 4, 4)
    means = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixture = Mixture(
        weights=torch.full((4,), 0.25, dtype=torch.float64),
        means=torch.cat([means, means.flip(-1)]).flatten(1),
        covariances=0.05 * torch.eye(16, dtype=torch.float64).repeat(4, 1, 1),
        basis=torch.eye(16, dtype=torch.float64),
        offset=torch.zeros(16, dtype=torch.float64),
    )
    teacher = MixtureTeacher(mixture, shape, name="symmetric")
    solver = SolverSpec(kind="unipc", steps=10)
    labels = teacher.grid(solver).labels
    noise = torch.randn(16, *shape, generator=torch.Generator().manual_seed(2))
    plain = list(teacher.states(Start(noise, {}), solver, labels))
    for state, other in zip(plain, teacher.states(Start(noise.flip(-1), {}), solver, labels), strict=True):
        torch.testing.assert_close(state.flip(-1), other, rtol=0, atol=1e-5)


def test_about_half_of_the_trajectories_are_mirrored_whole() -> None:
    batch, spec = batch_of(400), tiny_train(batch_size=400, samples=400, mirror=True)
    made = mirrored(batch, spec, 0)
    assert 160 < sum(turned(batch, made)) < 240
    assert made.condition is batch.condition


def test_draws_follow_from_seed_and_clock_alone() -> None:
    batch, spec = batch_of(8), tiny_train(mirror=True)
    first = turned(batch, mirrored(batch, spec, 16))
    assert first == turned(batch, mirrored(batch, spec, 16))
    others = [turned(batch, mirrored(batch, tiny_train(mirror=True, seed=seed), 16)) for seed in range(1, 9)]
    others += [turned(batch, mirrored(batch, spec, samples)) for samples in range(24, 88, 8)]
    assert sum(other != first for other in others) > 12
    # Of two processes, each has its share of what one would have drawn.
    halves = (slice(0, 4), slice(4, 8))
    parts = [turned(batch._rows(rows), mirrored(batch._rows(rows), spec, 16, rows)) for rows in halves]
    assert parts[0] + parts[1] == first


def test_only_the_classes_that_are_named() -> None:
    batch, spec = batch_of(400), tiny_train(batch_size=400, samples=400, mirror=(0, 2))
    found = turned(batch, mirrored(batch, spec, 0))
    of_class = [sum(found[label::3]) for label in range(3)]
    assert of_class[1] == 0
    assert min(of_class[0], of_class[2]) > 45


def test_a_run_that_does_not_mirror_has_the_batch_itself() -> None:
    batch = batch_of()
    assert mirrored(batch, tiny_train(), 0) is batch


def test_a_resumed_run_mirrors_what_an_uninterrupted_one_does(mixture_store: str, tmp_path: Path) -> None:
    def weights(name: str) -> Mapping[str, torch.Tensor]:
        return load_student(tmp_path / name / "student").state_dict()

    spec = tiny_train(mirror=True)
    steps = train(spec, mixture_store, tmp_path / "stopped")
    for step in steps:
        if step.samples == 56:
            steps.close()
    for name, run in {"stopped": spec, "whole": spec, "plain": tiny_train()}.items():
        list(train(run, mixture_store, tmp_path / name))
    stopped, whole, plain = map(weights, ("stopped", "whole", "plain"))
    assert all(torch.equal(stopped[name], whole[name]) for name in whole)
    assert any(not torch.equal(plain[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("mirror", "facts", "message"),
    [
        (True, {"space": LATENTS}, "states are mirrored where they are pixels, got a store of 'latents'"),
        ((0,), {}, "must be among the store's 0, got 0"),
        ((2, 3), {"conditioning": CLASSES}, "must be among the store's 3, got 3"),
    ],
)
def test_what_cannot_be_mirrored_is_refused(mirror: Any, facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_mirrored(tiny_train(mirror=mirror), make_spec(**facts))
    check_mirrored(tiny_train(), make_spec(**facts))


def test_it_is_refused_before_a_run_begins() -> None:
    with pytest.raises(ValueError, match="must be among the store's 0, got 4"):
        build_method(tiny_train(mirror=(4,)), make_spec())


@pytest.mark.parametrize("mirror", ["yes", (), (1.5,), (True,), 1, None])
def test_a_spec_takes_true_false_or_classes(mirror: Any) -> None:
    with pytest.raises(ValueError, match=r"mirror must be"):
        tiny_train(mirror=mirror)


@pytest.mark.parametrize(("said", "meant"), [(True, True), (False, False), ([0, 2], (0, 2))])
def test_json_and_presets_say_it(said: Any, meant: Any) -> None:
    spec = train_spec_from_json({"method": "layerwise", "mirror": said})
    assert spec.mirror == meant
    assert type(spec.mirror) is type(meant)
    assert fitted(preset("quick"), make_spec(conditioning=CLASSES), Changes(mirror=meant)).mirror == meant
