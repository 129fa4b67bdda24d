"""A neural operator: one pass predicts the states of all captured times at once, tied by convolutions over time.

DSNO, Zheng et al. 2023, https://arxiv.org/abs/2211.13449: blocks work on each time's features as on images of their
own; between them, layers with a kernel in Fourier space work on times and channels alone. As in the paper the loss is
L1, at four times. What the paper does not have, and we grant: the skip of the schedule and weights of clean images, as
our student has them.
"""

import torch
from torch import Tensor, nn

from advkd.diffusion import implied_clean, skip_coefficients
from advkd.students.blocks import CleanHead, Film, ResidualBlock
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.protocol import autocast
from benchmarks.peers.loop import Descent, learned
from benchmarks.peers.network import TOLERANCE, seeded
from benchmarks.peers.protocol import Problem, Trained

GROUPS = (3, 2, 1)
"""Numbers of temporal layers, each after some blocks: the first that fits."""
MOST_BLOCKS = 256


class TemporalLayer(nn.Module):
    """`h + irfft(R rfft(h))` over M times: a circular convolution, by any kernel that has so many modes.

    Zheng et al., Eq. 9. It starts as the identity.
    """

    def __init__(self, times: int, width: int) -> None:
        super().__init__()
        self.times = times
        # A complex number for every output, input and frequency: a kernel with two more axes.
        self.modes = nn.Parameter(torch.zeros(width, width, 2, times // 2 + 1))

    def kernel(self) -> Tensor:
        """Returns the kernel in time: `[width, width, M]`, by output, input and lag."""
        real, imaginary = self.modes.float().unbind(2)
        return torch.fft.irfft(torch.complex(real, imaginary), n=self.times)

    def forward(self, hidden: Tensor) -> Tensor:
        """Maps `[B * M, width, H, W]`, the times of a sample one after the other, to the same shape."""
        width = hidden.shape[1]
        lags = torch.arange(self.times)
        circulant = self.kernel()[:, :, (lags[:, None] - lags) % self.times]
        weight = circulant.permute(2, 0, 3, 1).reshape(self.times * width, self.times * width)
        joined = hidden.unflatten(0, (-1, self.times)).flatten(1, 2)
        mixed = nn.functional.conv2d(joined, weight[:, :, None, None])
        return hidden + mixed.unflatten(1, (self.times, width)).flatten(0, 1)


class TemporalNetwork(nn.Module):
    """From noise `[B, C, H, W]` to the clean estimates of M times, `[B, M, C, H, W]`; the layers are our student's."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        times: int,
        width: int,
        groups: int,
        blocks: int,
        patch: int,
        classes: int | None,
    ) -> None:
        super().__init__()
        channels = shape[0]
        self.times, self.patch = times, patch
        self.stem = nn.Conv2d(channels * patch * patch, width, 3, padding=1)
        self.of_time = nn.Embedding(times, width)
        self.of_class = None if classes is None else nn.Embedding(classes, width)
        self.films = nn.ModuleList(Film(width, width) for _ in range(groups))
        depths = [blocks // groups + (group < blocks % groups) for group in range(groups)]
        self.chains = nn.ModuleList(nn.Sequential(*(ResidualBlock(width) for _ in range(depth))) for depth in depths)
        self.temporal = nn.ModuleList(TemporalLayer(times, width) for _ in range(groups))
        self.head = CleanHead(width, channels, patch)

    def forward(self, noise: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Returns the estimates, from noisy to clean."""
        patches = nn.functional.pixel_unshuffle(noise, self.patch)
        hidden = self.stem(patches.contiguous(memory_format=torch.channels_last))
        hidden = hidden.repeat_interleave(self.times, 0)
        told = self.of_time.weight.repeat(len(noise), 1)
        if self.of_class is not None and class_labels is not None:
            told = told + self.of_class(class_labels).repeat_interleave(self.times, 0)
        for film, chain, temporal in zip(self.films, self.chains, self.temporal, strict=True):
            hidden = temporal(chain(film(hidden, told)))
        return self.head(hidden).unflatten(0, (-1, self.times))  # type: ignore[no-any-return]


class LastTime(nn.Module):
    """The student: the clean state, for which the other times are computed too, as the layers mix them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """Returns clean states `[B, C, H, W]`."""
        return self.network(noise, **condition)[:, -1]  # type: ignore[no-any-return]


class Temporal:
    """A `Learner`: L1 at all times."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._recipe = problem.recipe
        self.timesteps = problem.recipe.timesteps or ()
        with seeded(problem.seed):
            self.network: nn.Module = temporal_network(problem)
        facts = problem.facts
        places = [facts.timesteps.index(timestep) for timestep in self.timesteps]
        self._coefficients = skip_coefficients(
            [facts.signal[place] for place in places], [facts.sigma[place] for place in places]
        )
        self._descent = Descent(self.network, problem.recipe)

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        with autocast(self._recipe, batch.noise):
            estimates = self.network(batch.noise, **batch.condition)
        parts = zip(batch.states, self._coefficients.skip, self._coefficients.gain, strict=True)
        clean = torch.stack([implied_clean(state, batch.noise, skip, gain) for state, skip, gain in parts], 1)
        self._descent.follow((estimates.float() - clean).abs().mean(), share)

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the clean state's part."""
        return LastTime(averaged)


def temporal_network(problem: Problem) -> TemporalNetwork:
    """Builds the network with as many groups and blocks as make its parameters ours, the most groups first.

    Raises:
        ValueError: none do.
    """
    shape, times = problem.recipe.student, len(problem.recipe.timesteps or ()) - 1
    counts: list[int] = []
    for groups in GROUPS:
        for blocks in range(groups, MOST_BLOCKS):
            network = TemporalNetwork(
                problem.facts.sample_shape, times, shape.width, groups, blocks, shape.patch, problem.classes
            )
            counts.append(sum(weight.numel() for weight in network.parameters()))
            if abs(counts[-1] / problem.our_parameters - 1.0) <= TOLERANCE:
                return network
            if counts[-1] > problem.our_parameters:
                break
    raise ValueError(
        f"a peer's network must have our {problem.our_parameters} parameters within {TOLERANCE:.0%}, got {counts} with "
        f"{times} times; widen the student, or leave temporal out with --peers"
    )


def check(problem: Problem) -> None:
    """Checks that the network fits; raises `ValueError` as `temporal_network` does."""
    temporal_network(problem)


def train(problem: Problem) -> Trained:
    """Trains a temporal student."""
    return learned(problem, Temporal(problem))
