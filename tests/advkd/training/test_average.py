"""The average of a run in closed form: its short memory at first, and what a resumed run has of it."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import advkd.training.loop as loop
from advkd.optimizers.ema import Ema
from advkd.training.checkpoint import checkpoints
from advkd.training.methods import Method
from advkd.training.methods.layerwise_spec import TrainSpec
from storage.records import store_uri
from storage.testing.trajectories import fill, make_spec
from tests.advkd.conftest import tiny_train

BATCH, STEPS = 8, 12


def closed_form(weights: list[Tensor], kept: list[float]) -> Tensor:
    """`sum_i (1 - d_i) d_{i+1} ... d_n w_i`, and `d_1 ... d_n` of the first weights, in float64."""
    average = math.prod(kept) * weights[0].double()
    for i, decay in enumerate(kept, start=1):
        average += (1.0 - decay) * math.prod(kept[i:]) * weights[i].double()
    return average


class Seen:
    """The weights of a run after every step, by samples; a run that goes on overwrites what it repeats."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.method: Method | None = None
        build = loop.build_method

        def building(*arguments: object) -> Method:
            self.method = build(*arguments)
            return self.method

        monkeypatch.setattr(loop, "build_method", building)

    def run(self, spec: TrainSpec, store: str, out: Path, stop_at: int | None = None) -> None:
        steps = loop.train(spec, store, out)
        for step in steps:
            assert self.method is not None
            self.weights[step.samples] = {n: w.clone() for n, w in self.method.state.student.state_dict().items()}
            if step.samples == stop_at:
                steps.close()


@pytest.mark.parametrize("stops", [(), (40, 64)], ids=["in one go", "resumed"])
@pytest.mark.parametrize("halflife", [1e9, 4.0], ids=["always short", "short at first"])
def test_a_runs_average_is_its_closed_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halflife: float, stops: tuple[int, ...]
) -> None:
    """d_i = 2^(-B / h_i), h_i the run's half-life or a tenth of the samples seen, whichever is less."""
    facts = make_spec(sample_shape=(1, 8, 8))
    fill(str(tmp_path / "stores"), facts, 24)
    store = store_uri(str(tmp_path / "stores"), facts)
    spec, seen, out = tiny_train(ema_halflife=halflife, learning_rate=1e-2), Seen(monkeypatch), tmp_path / "run"
    first = loop.build_method(spec, facts).state.student.state_dict()
    for stop in (*stops, None):
        seen.run(spec, store, out, stop)
    kept = [2.0 ** -max(10.0 / i, BATCH / halflife) for i in range(1, STEPS + 1)]
    averaged = load_file(out / "student" / "diffusion_pytorch_model.safetensors")
    assert averaged.keys() == first.keys()
    for name, value in averaged.items():
        trail = [first[name], *(seen.weights[BATCH * i][name] for i in range(1, STEPS + 1))]
        torch.testing.assert_close(value.double(), closed_form(trail, kept), rtol=1e-5, atol=1e-7)
        # No other average of the run passes for this one.
        assert (value - trail[-1]).abs().max() > 1e-5
    assert torch.equal(load_file(checkpoints(out)[-1] / "ema.safetensors")["stem.weight"], averaged["stem.weight"])


def test_in_the_short_memory_the_first_weights_fade_by_the_harmonic_numbers() -> None:
    """Ten half-lives in what was seen: after n steps the first weights count 2^(-10 (1 + 1/2 + ... + 1/n))."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(model.weight)
    ema = Ema(model)
    nn.init.zeros_(model.weight)
    for n in range(1, 8):
        ema.update(model, BATCH, 0.1 * n * BATCH)
        harmonic = sum(1.0 / i for i in range(1, n + 1))
        assert ema.state_dict()["weight"].item() == pytest.approx(2.0 ** (-10.0 * harmonic), rel=1e-12)


def test_an_average_that_is_put_back_goes_on_as_the_one_that_was_saved() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3, dtype=torch.float64)
    weights = [model.weight.detach().clone()]
    whole, resumed = Ema(model), Ema(model)
    for step in range(1, 7):
        nn.init.normal_(model.weight)
        weights.append(model.weight.detach().clone())
        whole.update(model, 64, 100.0)
        if step == 3:
            saved = {name: value.clone() for name, value in whole.state_dict().items()}
            resumed = Ema(nn.Linear(5, 3, dtype=torch.float64))
            resumed.load_state_dict(saved)
        elif step > 3:
            resumed.update(model, 64, 100.0)
    expected = closed_form(weights, [0.5**0.64] * 6)
    torch.testing.assert_close(whole.state_dict()["weight"], expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(resumed.state_dict()["weight"], whole.state_dict()["weight"])
