"""Whole steps of our method, the loop's average included, against a second implementation in float64.

`Tensor.float` is made a `Tensor.double` here, so that code which brings values to float32 leaves them in float64 and
every bound is one of rounding alone: the two ways differ in order of summation and in nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advkd.diffusion import conditions_of
from advkd.optimizers.ema import Ema
from advkd.training.data import TrajectoryBatch
from advkd.training.loop import StepMetrics, _steps
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.observer import Observer
from storage import Batch
from storage.testing.trajectories import make_spec, states_of
from tests.advkd.conftest import tiny_train
from tests.advkd.training.methods.plain_layerwise import PlainLayerwise, PlainStep

TIGHT = {"rtol": 1e-7, "atol": 1e-9}
FREE, BOUND = 1e6, 1e-2
STEPS = 12
"""Of `tiny_train`: 6 of distillation, then 6 of the game, of which some have penalties."""
# The average's half-life of 4 samples begins to count after 40 of 96, when a tenth of what was seen is more.
SETTINGS = {"penalty_every": 3, "weight_decay": 0.1, "ema_halflife": 4.0, "monitor_every": 10**6}


@pytest.fixture(autouse=True)
def _in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@dataclass
class Pair:
    """The method as the loop drives it, and the plain one, on the same batches."""

    method: LayerwiseMethod
    plain: PlainLayerwise
    steps: Iterator[StepMetrics | None]
    batches: list[Batch]

    def next(self) -> tuple[StepMetrics, PlainStep]:
        number = self.method.state.samples // self.method.spec.batch_size
        metrics = next(self.steps)
        assert metrics is not None
        states = [torch.from_numpy(self.batches[number].states[t]).double() for t in self.method.store.timesteps]
        batch = TrajectoryBatch(states[0], tuple(states[1:]))
        facts = self.method.store
        told = batch.conditioned(conditions_of(facts.conditioning), facts.base_seed, self.batches[number].indices)
        return metrics, self.plain.step(told)


def pair(out: Path, conditioning: dict[str, object] | None = None, **changes: object) -> Pair:
    spec = tiny_train(**{**SETTINGS, **changes})
    facts = make_spec(sample_shape=(1, 8, 8), conditioning=conditioning)
    method = LayerwiseMethod(spec, facts)
    _disturb(method)
    plain = PlainLayerwise(spec, method.store, method.state.student, method.state.discriminator)
    method.state.student.double()
    method.state.discriminator.double()
    method.state.ema = Ema(method.state.student)
    size = spec.batch_size
    batches = [
        Batch(np.arange(start, start + size), states_of(facts, start, start + size))
        for start in range(0, STEPS * size, size)
    ]
    steps = _steps(spec, method, iter(batches), STEPS * size, Observer(spec, method, out), conditions_of(conditioning))
    return Pair(method, plain, steps, batches)


def _disturb(method: LayerwiseMethod) -> None:
    """Away from the beginning, where weights are zero: every one has a gradient, logits are far from equal."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in (*method.state.student.parameters(), *method.state.discriminator.parameters()):
            weight += 0.1 * torch.randn_like(weight)


def assert_same_weights(network: nn.Module | dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    found = network if isinstance(network, dict) else dict(network.named_parameters())
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(weight.detach(), expected[name], **TIGHT, msg=lambda text, n=name: f"{n}: {text}")


def assert_same_state(method: LayerwiseMethod, plain: PlainLayerwise) -> None:
    state = method.state
    assert_same_weights(state.student, dict(plain.muon.weights))
    assert_same_weights(state.discriminator, dict(plain.adam.weights))
    assert_same_weights(state.ema.state_dict(), plain.average)
    assert (state.samples, state.adversarial_steps) == (plain.samples, plain.games)
    for name, weight in state.student.named_parameters():
        slots = state.student_optimizer.state[weight]
        if name not in plain.muon.adam.weights:
            torch.testing.assert_close(slots["momentum"], plain.muon.momentum[name], **TIGHT)
        else:
            torch.testing.assert_close(slots["exp_avg"], plain.muon.adam.first[name], **TIGHT)
            torch.testing.assert_close(slots["exp_avg_sq"], plain.muon.adam.second[name], **TIGHT)
    for name, weight in state.discriminator.named_parameters():
        slots = state.discriminator_optimizer.state[weight]
        assert slots.keys() == ({"step", "exp_avg", "exp_avg_sq"} if plain.games else set())
        if plain.games:
            assert slots["step"].item() == plain.games
            torch.testing.assert_close(slots["exp_avg"], plain.adam.first[name], **TIGHT)
            torch.testing.assert_close(slots["exp_avg_sq"], plain.adam.second[name], **TIGHT)


def assert_same_report(metrics: StepMetrics, expected: PlainStep) -> None:
    assert metrics.phase == expected.phase
    for ours, theirs in (
        (metrics.distillation, expected.distillation),
        (metrics.adversarial, expected.adversarial),
        (metrics.adversarial_scale, expected.scale),
        (metrics.discriminator, expected.discriminator),
        (metrics.margin, expected.margin),
        (metrics.learning_rate, expected.learning_rate),
    ):
        assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-12)


def followed(out: Path, **changes: object) -> list[PlainStep]:
    """A whole run of both; what the plain one did."""
    both, done = pair(out, **changes), []
    for number in range(1, STEPS + 1):
        metrics, expected = both.next()
        assert metrics.samples == 8 * number
        assert_same_report(metrics, expected)
        assert_same_state(both.method, both.plain)
        done.append(expected)
    return done


@pytest.mark.thorough
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("limit", [FREE, BOUND])
def test_a_run_is_the_plain_one_whether_the_limit_binds_or_not(tmp_path: Path, limit: float, accumulate: int) -> None:
    done = followed(tmp_path, adversarial_limit=limit, accumulate=accumulate)
    assert [step.phase for step in done] == ["distillation"] * 6 + ["adversarial"] * 6
    assert [step.penalised for step in done[6:]] == [True, False, False] * 2
    balances = [balance for step in done for balance in step.balances]
    assert len(balances) == 6 * accumulate
    assert all((balance > limit) == (limit == BOUND) for balance in balances)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_with_class_labels_is_the_plain_one(tmp_path: Path, accumulate: int) -> None:
    five = {"kind": "labels", "classes": 5, "distribution": "uniform"}
    followed(tmp_path, conditioning=five, accumulate=accumulate, adversarial_limit=FREE)


@pytest.mark.parametrize("game", ["non-saturating", "hinge", "wgan"])
def test_every_other_game_is_the_plain_one(tmp_path: Path, game: str) -> None:
    followed(tmp_path, adversarial=game, adversarial_limit=FREE, penalty_every=2)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "changes",
    [
        {"submodule_weights": (0.3, 2.0)},
        {"timesteps": (999, 0)},
        {"warmup": 0.0, "penalty_every": 1, "adversarial_weight": 2.0},
        {"rise_samples": 56, "weight_decay": 0.0, "penalty_weight": 0.0},
        {"ema_halflife": 0.0, "seed": 5, "warmup": 1.0},
    ],
    ids=str,
)
def test_every_setting_is_the_plain_one(tmp_path: Path, changes: dict[str, object]) -> None:
    followed(tmp_path, **changes)
