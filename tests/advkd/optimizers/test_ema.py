"""The average against its recurrence."""

import pytest
import torch
from torch import nn

from advkd.optimizers.ema import Ema


class Counted(nn.Module):
    """Weights, a float buffer and an integer buffer, as a normalised network has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        self.register_buffer("running", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))


def moved(model: Counted, value: int) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn_like(weight)
        model.running += value
        model.count.fill_(value)


def test_average_follows_its_recurrence() -> None:
    """average <- d average + (1 - d) weights, d = 2^(-samples / half-life); integers are copied."""
    torch.manual_seed(0)
    model = Counted()
    ema = Ema(model)
    expected = {name: value.double().clone() for name, value in model.state_dict().items()}
    for step, (samples, halflife) in enumerate([(64, 64.0), (64, 640.0), (32, 10.0), (1, 5000.0)], start=1):
        moved(model, step)
        ema.update(model, samples, halflife)
        decay = 0.5 ** (samples / halflife)
        for name, value in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
        expected["count"] = torch.tensor(float(step), dtype=torch.float64)
        for name, value in ema.state_dict().items():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert ema.state_dict()["count"].dtype == torch.int64


def test_after_one_half_life_the_first_weights_count_half() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model)
    nn.init.ones_(model.weight)
    for _ in range(10):
        ema.update(model, 100, 1000.0)
    assert ema.state_dict()["weight"].item() == pytest.approx(0.5, rel=1e-5)


def test_no_half_life_copies_the_weights() -> None:
    model = Counted()
    ema = Ema(model)
    moved(model, 1)
    ema.update(model, 64, 0.0)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ema.state_dict()[name], value)


def test_average_is_apart_from_the_model_and_loads_into_one() -> None:
    model, other = Counted(), Counted()
    ema = Ema(model)
    before = {name: value.clone() for name, value in ema.state_dict().items()}
    moved(model, 1)
    for name, value in before.items():
        assert torch.equal(ema.state_dict()[name], value)
    other.load_state_dict(ema.state_dict())
    again = Ema(Counted())
    again.load_state_dict(ema.state_dict())
    for name, value in before.items():
        assert torch.equal(other.state_dict()[name], value)
        assert torch.equal(again.state_dict()[name], value)


def test_an_average_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the model's names"):
        Ema(nn.Linear(2, 2)).load_state_dict(Ema(Counted()).state_dict())
