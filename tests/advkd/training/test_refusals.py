"""Training: what does not fit is refused at once, and what fails leaves the last good checkpoint."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import advkd.training.loop as loop
from advkd.device.threads import no_denormals
from advkd.discriminators import DiscriminatorSpec
from advkd.files.folders import own_folder
from advkd.students import StudentSpec
from advkd.students.loading import load_student
from advkd.teachers import SolverSpec, load_teacher
from advkd.training.alarms import NonFiniteLossError
from advkd.training.checkpoint import checkpoints
from advkd.training.data import to_torch
from advkd.training.loop import train
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.spec_json import train_spec_from_json
from advkd.trajectories import Filling, precompute, trajectory_spec
from storage import Batch, ShardCorruptError, StoreIncompleteError, StoreNotFoundError, open_store, store_uri
from tests.advkd.conftest import mixture_spec, tiny_train
from tests.advkd.training.test_loop import run


def test_an_absurd_learning_rate_stops_with_the_last_good_checkpoint(mixture_store: str, tmp_path: Path) -> None:
    with pytest.raises(
        NonFiniteLossError, match=r"losses and weights must stay finite, .* none yet; lower learning_rate"
    ):
        run(tiny_train(learning_rate=1e30), mixture_store, tmp_path)
    assert checkpoints(tmp_path) == []
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("report_every", [1, 1000])
def test_a_loss_that_turns_non_finite_keeps_the_last_good_checkpoint(
    mixture_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report_every: int
) -> None:
    """Even where the losses are not read, no checkpoint is written of weights that are not finite."""
    calls = []

    def poisoned(batch: Batch, *rest: object) -> object:
        calls.append(batch)
        found = to_torch(batch, *rest)
        if len(calls) == 8:
            found.states[0].fill_(float("nan"))
        return found

    monkeypatch.setattr(loop, "to_torch", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"the last good checkpoint is .*/checkpoints/000000000048;"):
        run(tiny_train(report_every=report_every), mixture_store, tmp_path)
    assert [int(path.name) for path in checkpoints(tmp_path)] == [24, 48]
    assert not (tmp_path / "student").exists()
    monkeypatch.undo()
    assert run(tiny_train(report_every=report_every), mixture_store, tmp_path)[-1].samples == 96


def test_a_stochastic_store_is_refused(tmp_path: Path) -> None:
    store = precompute(mixture_spec(tmp_path / "stores", samples=16, solver=SolverSpec(kind="ddpm", steps=4))).uri
    with pytest.raises(ValueError, match=r"needs a deterministic sampler, got a cache of 'ddpm' .*; precompute with"):
        run(tiny_train(), store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unsealed_store_is_refused(tmp_path: Path) -> None:
    spec = mixture_spec(tmp_path / "stores")
    Filling.of(spec).compute(0)
    uri = store_uri(spec.store, trajectory_spec(spec, load_teacher("mixture")))
    with pytest.raises(StoreIncompleteError):
        run(tiny_train(), uri, tmp_path / "run")


def test_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        run(tiny_train(), str(tmp_path / "nothing"), tmp_path / "run")


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_store_stops_the_run(tmp_path: Path, damage: str) -> None:
    store = precompute(mixture_spec(tmp_path / "stores", samples=16)).uri
    (entry, *_) = open_store(store).manifest.shards.entries(0)
    path = Path(store) / entry.key
    data = path.read_bytes()
    path.unlink()
    if damage == "flip":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    with pytest.raises(ShardCorruptError):
        run(tiny_train(), store, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 49, "samples": 490}, "a batch must fit"),
        ({"student": StudentSpec(width=8, patch=3)}, "patch must divide height and width, got 3 for 16x16"),
        (
            {"discriminator": DiscriminatorSpec(width=8, patch=3)},
            r"DiscriminatorSpec\.patch must divide .* 3 for 16x16",
        ),
        ({"submodule_weights": (1.0,)}, r"one weight per submodule \(2\), got 1"),
        ({"device": "warp"}, "a device must be one of"),
        ({"seed": -1}, r"base seed must lie in \[0, 2\*\*63\), got -1"),
    ],
)
def test_a_spec_that_does_not_fit_the_store_is_refused_at_once(
    mixture_store: str, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        next(iter(train(tiny_train(**changes), mixture_store, tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({name: value}, rf"TrainSpec\.{name} must be a positive whole number, got {value}")
            for name in ("samples", "batch_size", "penalty_every", "window", "checkpoint_every", "report_every")
            for value in (0, -1)
        ),
        *(
            ({name: 2.5}, rf"TrainSpec\.{name} must be a whole number, got 2\.5 \(float\)")
            for name in ("samples", "batch_size", "penalty_every", "window", "checkpoint_every", "report_every")
        ),
        ({"samples": 4}, r"samples must be at least batch_size \(8\), got 4"),
        ({"warmup": 1.1}, r"must lie in \[0, 1\], got 1\.1"),
        (
            {"discriminator": DiscriminatorSpec(kind="patchgan")},
            r"discriminator\.kind must be one of \['projection'\], got 'patchgan'; .*advkd\.discr",
        ),
        ({"weight_decay": -0.1}, "weight_decay must be finite and not negative, got -0.1"),
        ({"trajectories": 0}, "trajectories must be a positive whole number, got 0; leave it out for all"),
        (
            {"adversarial": "lsgan"},
            r"adversarial must be one of .* got 'lsgan'; .*advkd\.losses",
        ),
        ({"precision": "float16"}, "precision must be one of .* got 'float16'"),
        ({"learning_rate": 0.0}, r"learning_rate must be positive and finite, got 0\.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite, got nan"),
        ({"discriminator_learning_rate": math.inf}, "discriminator_learning_rate must be positive and finite"),
    ],
)
def test_train_spec_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_train(**changes)


def test_a_train_spec_goes_through_json() -> None:
    spec = tiny_train(submodule_weights=(1.0, 2.0))
    assert train_spec_from_json(json.loads(json.dumps(asdict(spec)))) == spec
    assert train_spec_from_json({}) == TrainSpec()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"learningrate": 1.0}, r"got \['learningrate'\]"),
        ({"student": {"depth": 3}}, r"TrainSpec\.student must be an object with keys among .* got \['depth'\]"),
        ({"student": 3}, r"TrainSpec\.student must be an object"),
        ([], "TrainSpec must be an object"),
        ({"samples": "many"}, r"TrainSpec\.samples must be a whole number, got 'many'; correct it"),
        ({"samples": 12.0}, r"TrainSpec\.samples must be a whole number, got 12\.0"),
        ({"learning_rate": "fast"}, r"TrainSpec\.learning_rate must be a valid number, got 'fast'; correct it"),
        ({"student": {"width": "wide"}}, r"TrainSpec\.student\.width must be a whole number, got 'wide'"),
        ({"student": {"blocks": "deep"}}, r"TrainSpec\.student\.blocks must be a whole number, got 'deep'"),
        ({"student": {"width": 0}}, r"StudentSpec\.width must be positive, got 0; use at least 1"),
        ({"method": "other"}, r"a training spec's method must be one of \['layerwise', 'paper'\], got 'other'"),
    ],
)
def test_a_train_spec_in_bad_json_is_refused(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_spec_from_json(data)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_few_steps_on_cuda_in_bfloat16(mixture_store: str, tmp_path: Path) -> None:
    """Both phases, a checkpoint, a resume, and a student that loads on the CPU."""
    spec = tiny_train(device="cuda", precision="bfloat16")
    run(spec, mixture_store, tmp_path, stop_at=56)
    metrics = run(spec, mixture_store, tmp_path)
    assert metrics[-1].samples == 96
    assert all(math.isfinite(step.distillation) and math.isfinite(step.discriminator) for step in metrics)
    assert torch.isfinite(load_student(tmp_path)(torch.zeros(1, 1, 16, 16))).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"adversarial_weight": float("nan")},
        {"penalty_weight": -1.0},
        {"adversarial_limit": -1.0},
        {"ema_halflife": -5.0},
        {"rise_samples": -3},
        {"submodule_weights": (-1.0,)},
    ],
)
def test_weights_are_finite_and_not_negative(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"TrainSpec.{next(iter(wrong))}.* must be finite and not negative"):
        TrainSpec(**wrong)


def test_denormal_numbers_are_back_outside() -> None:
    with no_denormals():
        assert (torch.tensor(torch.finfo(torch.float32).tiny) / 2).item() == 0.0
    assert (torch.tensor(torch.finfo(torch.float32).tiny) / 2).item() > 0.0


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with own_folder(tmp_path), pytest.raises(BlockingIOError, match="another at work"), own_folder(tmp_path):
        pass
    with own_folder(tmp_path):
        pass
