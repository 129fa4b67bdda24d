"""Consistency distillation: every state of a trajectory leads to its clean end, so neighbours must lead to the same.

Song et al. 2023, https://arxiv.org/abs/2303.01469, Algorithm 2. Where a neighbour comes from is what the two peers here
differ in: `Asking` makes a step of the teacher from a noised image, as the paper does, and pays its passes with its
budget; `Cached` takes two neighbours of a cached trajectory and asks nobody. Data are the cache's clean states. The
distance is the pseudo-Huber one of the authors' second paper (https://arxiv.org/abs/2310.14189): LPIPS needs a network
that knows images.
"""

import math
from abc import ABC, abstractmethod
from copy import deepcopy

import torch
from torch import Tensor, nn

from advkd.diffusion import CLEAN, TimeGrid
from advkd.losses import pseudo_huber
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.protocol import autocast
from benchmarks.peers.asking import StepByStep
from benchmarks.peers.loop import Descent, learned
from benchmarks.peers.network import LevelNetwork, level_network, seeded
from benchmarks.peers.protocol import Problem, Trained
from storage import open_store

LEVELS = 10
"""Steps of the teacher from noise to clean state. The paper has 18, for budgets in which all of them are learned."""
KEPT = 0.95
"""How much of the target network is kept in every step, the paper's decay of its average."""
TIMES = 8
"""Samples of a batch that have the same place: a teacher's pass is of one time."""
LEAST = 1e-3
"""Least deviation of clean states, for teachers of constant images."""


class Consistent(nn.Module):
    """`f(x_t, t) = c_skip x_t + c_out F(c_in x_t, t)`, which is the identity on clean states.

    EDM's coefficients (Song et al., appendix C) in terms of `x_t = a x_0 + s eps`, which stay finite where a is 0.
    """

    def __init__(self, network: LevelNetwork, grid: TimeGrid, deviation: float) -> None:
        """Wraps a network that is told the states of a grid by their places; `deviation` is that of clean states."""
        super().__init__()
        self.network = network
        signal, sigma = torch.tensor(grid.signal), torch.tensor(grid.sigma)
        scale = (sigma.square() + (signal * deviation).square()).sqrt()
        self.register_buffer("skip", deviation**2 * signal / scale.square())
        self.register_buffer("out", deviation * sigma / scale)
        self.register_buffer("into", 1.0 / scale)

    def forward(self, states: Tensor, places: Tensor, **condition: Tensor) -> Tensor:
        """Returns the clean ends of states `[B, C, H, W]` at places `[B]` of the grid, 0 the noise's."""
        skip, out, into = (
            values[places].view(-1, 1, 1, 1)
            for values in (self.skip, self.out, self.into)  # type: ignore[index]
        )
        told = places.clamp_max(len(self.skip) - 2)  # type: ignore[arg-type]
        return skip * states + out * self.network(into * states, told, **condition).float()


class FromNoise(nn.Module):
    """The student: where the noise leads."""

    def __init__(self, consistent: nn.Module) -> None:
        super().__init__()
        self.consistent = consistent

    def forward(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """Returns clean states `[B, C, H, W]`."""
        return self.consistent(noise, torch.zeros(len(noise), dtype=torch.int64), **condition)  # type: ignore[no-any-return]


class Consistency(ABC):
    """A `Learner`; what is missing is where neighbours come from."""

    grid: TimeGrid
    timesteps: tuple[int, ...]
    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._recipe = problem.recipe
        self._generator = torch.Generator().manual_seed(problem.seed)
        with seeded(problem.seed):
            network = level_network(problem, len(self.grid.labels) - 1)
        self.network: nn.Module = Consistent(network, self.grid, deviation(problem))
        self._target = deepcopy(self.network).requires_grad_(False)
        self._descent = Descent(self.network, problem.recipe)

    @abstractmethod
    def neighbours(self, batch: TrajectoryBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns places `[B]`, states there, and the teacher's states at the next places."""

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        places, states, following = self.neighbours(batch)
        with autocast(self._recipe, states):
            with torch.no_grad():
                aim = self._target(following, places + 1, **batch.condition)
            led = self.network(states, places, **batch.condition)
        # Song et al., Eq. 7, with lambda = 1.
        self._descent.follow(pseudo_huber(led - aim).mean(), share)
        pairs = zip(self._target.parameters(), self.network.parameters(), strict=True)
        with torch.no_grad():
            for kept, new in pairs:
                kept.lerp_(new, 1.0 - KEPT)

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the function at the noise."""
        return FromNoise(averaged)


class Asking(Consistency):
    """Neighbours by a step of the teacher: one pass for every sample, two under guidance."""

    def __init__(self, problem: Problem) -> None:
        self._steps = StepByStep(problem.teacher, LEVELS)
        self.grid, self.timesteps = self._steps.grid, problem.captured(1)
        super().__init__(problem)

    def neighbours(self, batch: TrajectoryBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Adds noise to the cache's clean states; see `Consistency.neighbours`."""
        clean = batch.states[-1]
        noise = torch.randn(clean.shape, generator=self._generator)
        drawn = torch.randint(LEVELS, (math.ceil(len(clean) / TIMES),), generator=self._generator)
        places = drawn.repeat_interleave(TIMES)[: len(clean)]
        signal, sigma = (
            torch.tensor(values)[places].view(-1, 1, 1, 1) for values in (self.grid.signal, self.grid.sigma)
        )
        states = signal * clean + sigma * noise
        following = self._steps.step(states, places, batch.condition)
        self.passes = self._steps.passes
        return places, states, following


class Cached(Consistency):
    """Neighbours of the cached trajectories."""

    def __init__(self, problem: Problem) -> None:
        facts = problem.facts
        self.timesteps = facts.timesteps
        self.grid = TimeGrid(facts.timesteps, facts.signal, facts.sigma)
        super().__init__(problem)

    def neighbours(self, batch: TrajectoryBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Takes them from the batch; see `Consistency.neighbours`."""
        states = torch.stack([batch.noise, *batch.states])
        rows = torch.arange(len(batch.noise))
        places = torch.randint(len(states) - 1, (len(rows),), generator=self._generator)
        return places, states[places, rows], states[places + 1, rows]


def deviation(problem: Problem) -> float:
    """Returns the standard deviation of the clean states, as the cache's manifest has it."""
    return max(LEAST, open_store(problem.store).manifest.statistics[CLEAN].std)


def check_asking(problem: Problem) -> None:
    """Checks that the teacher can be asked for one step, and that the network fits; raises `ValueError` otherwise."""
    StepByStep(problem.teacher, LEVELS)
    level_network(problem, LEVELS)


def check_cached(problem: Problem) -> None:
    """Checks that the network fits; raises `ValueError` as `level_network` does."""
    level_network(problem, len(problem.facts.timesteps) - 1)


def train_asking(problem: Problem) -> Trained:
    """Trains with the teacher's steps."""
    return learned(problem, Asking(problem))


def train_cached(problem: Problem) -> Trained:
    """Trains with the cache's states."""
    return learned(problem, Cached(problem))
