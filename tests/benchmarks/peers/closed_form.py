"""Teachers whose flow is known exactly: pixels are independent Gaussians around a colour, one for every class."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import UNCONDITIONAL, Conditions, Labels, Pixels
from advkd.features import InputRule
from advkd.teachers import NetworkTeacher

RGB = (3, 8, 8)
COLOURS = ((0.6, -0.5, -0.5), (-0.5, 0.5, -0.4), (-0.4, -0.3, 0.6))
DEVIATION = 0.2


class Colours(NetworkTeacher):
    """`x_0 = colour_y + 0.2 z`: predicts the noise, exactly; of one class it is unconditional."""

    def __init__(self, shape: tuple[int, int, int], colours: Sequence[Sequence[float]]) -> None:
        self.scheduler: Mapping[str, Any] = {"_class_name": "DDPMScheduler", "clip_sample": False}
        self.space, self.device = Pixels(shape), torch.device("cpu")
        self.colours = torch.tensor(colours).view(-1, shape[0], 1, 1)
        facts = {"kind": "labels", "classes": len(colours), "distribution": "uniform"}
        self.conditions: Conditions = Labels(facts) if len(colours) > 1 else UNCONDITIONAL
        self.name = f"colours-{len(colours)}"
        self.fingerprint = hashlib.sha256(json.dumps([self.name, shape, self.colours.tolist()]).encode()).hexdigest()
        self.bars = torch.cumprod(1.0 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
        self.passes = 0

    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        self.passes += len(state)
        bar = self.bars[int(time)]
        a, s = bar.sqrt(), (1 - bar).sqrt()
        mean = self.mean(condition, len(state)).double()
        # The posterior of one Gaussian.
        clean = mean + a * DEVIATION**2 / ((a * DEVIATION) ** 2 + s**2) * (state.double() - a * mean)
        return ((state.double() - a * clean) / s).to(state.dtype)

    def mean(self, condition: Mapping[str, Tensor], count: int) -> Tensor:
        return self.colours[condition.get("class_labels", torch.zeros(count, dtype=torch.int64))]

    def flow(self, state: Tensor, condition: Mapping[str, Tensor], bar: float | None = None) -> Tensor:
        """Where the exact flow leads from a level, the noise's by default: a pixel keeps its number of deviations."""
        bar = float(self.bars[-1]) if bar is None else bar
        marginal = (bar * DEVIATION**2 + 1 - bar) ** 0.5
        mean = self.mean(condition, len(state))
        return mean + DEVIATION / marginal * (state - bar**0.5 * mean)


def colours(device: str) -> Colours:
    """Three classes in colour, as `tests.benchmarks.peers.closed_form:colours`."""
    return Colours(RGB, COLOURS)


def colour(device: str) -> Colours:
    """One colour, and no classes."""
    return Colours(RGB, COLOURS[:1])


def wide_grey(device: str) -> Colours:
    """Grey images of no class that are no squares."""
    return Colours((1, 8, 12), ((0.3,),))


def large(device: str) -> Colours:
    """Eight classes in colour, at 32x32."""
    return Colours((3, 32, 32), [[0.1 * k, -0.1 * k, 0.0] for k in range(8)])


class Means:
    """An extractor: means and deviations of channels, and of halves of the image."""

    name, sha256, dims, rule = "means", "1" * 64, 6, InputRule(channels=3)

    def accepts(self, shape: Sequence[int]) -> bool:
        return shape[0] == 3

    def __call__(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)), images[..., ::2].std((2, 3))], 1)


def means(asked: object) -> Means:
    """The factory of `Means`."""
    return Means()
