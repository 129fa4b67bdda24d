"""Parts of a batch, one after the other: the gradients of the whole batch in less memory."""

import json
import weakref
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advkd.training.data import TrajectoryBatch, to_torch
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.spec_json import train_spec_from_json
from storage import TrajectoryLoader, open_store
from tests.advkd.conftest import tiny_train


def method_and_batch(store: str, spec: TrainSpec) -> tuple[LayerwiseMethod, TrajectoryBatch]:
    loader = TrajectoryLoader(store, batch_size=spec.batch_size, seed=0)
    with_states = loader.timesteps
    (batch, *_) = loader.epoch(0)
    moved = to_torch(batch, with_states, torch.device("cpu"))
    return LayerwiseMethod(spec, open_store(store).manifest.spec), moved


def gradients(store: str, accumulate: int) -> tuple[float, list[Tensor]]:
    """The distillation loss and the student's gradients after one step."""
    method, batch = method_and_batch(store, tiny_train(batch_size=16, accumulate=accumulate, warmup=1.0))
    loss = method.step(batch).distillation.item()
    return loss, [weight.grad for weight in method.state.student.parameters() if weight.grad is not None]


@pytest.mark.parametrize("accumulate", [2, 4, 16])
def test_parts_give_the_distillation_gradients_of_the_whole_batch(mixture_store: str, accumulate: int) -> None:
    loss, whole = gradients(mixture_store, 1)
    other, parts = gradients(mixture_store, accumulate)
    assert other == pytest.approx(loss, rel=1e-6)
    assert len(parts) == len(whole) > 0
    for mine, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6 * float(theirs.abs().max()))


class _Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def most_bytes_kept(store: str, spec: TrainSpec, samples: int) -> int:
    """The most bytes that graphs keep at any moment of one step, weights apart."""
    method, batch = method_and_batch(store, spec)
    method.state.samples = samples
    now = most = 0

    def pack(tensor: Tensor) -> _Kept:
        nonlocal now, most
        kept = _Kept(tensor)
        if not isinstance(tensor, nn.Parameter):
            now += tensor.nbytes
            most = max(most, now)
            weakref.finalize(kept, drop, tensor.nbytes)
        return kept

    def drop(count: int) -> None:
        nonlocal now
        now -= count

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        method.step(batch)
    return most


@pytest.mark.parametrize("samples", [0, 96], ids=["distillation", "adversarial"])
def test_four_parts_keep_about_a_quarter_of_the_activations(mixture_store: str, samples: int) -> None:
    whole, parts = (
        most_bytes_kept(mixture_store, tiny_train(batch_size=16, accumulate=accumulate), samples)
        for accumulate in (1, 4)
    )
    assert 0.2 * whole < parts < 0.35 * whole


@pytest.mark.parametrize("accumulate", [3, 16])
def test_parts_that_do_not_divide_a_batch_are_refused(accumulate: int) -> None:
    with pytest.raises(ValueError, match=rf"TrainSpec\.accumulate must divide batch_size \(8\), got {accumulate};"):
        tiny_train(accumulate=accumulate)


def test_parts_are_part_of_a_spec_in_json(tmp_path: Path) -> None:
    spec = tiny_train(accumulate=4, timesteps=(999, 499, 0))
    assert train_spec_from_json(json.loads(json.dumps(asdict(spec)))) == spec
