"""A rectified flow of the cached pairs, distilled to one step.

SlimFlow, Zhu et al. 2024, https://arxiv.org/abs/2407.12718: a small network learns the velocity of straight lines from
noise to image; the noises of its pairs begin as independent ones and are annealed to the teacher's own (annealing
reflow). Then it becomes a one-step student of pairs, guided on fresh noises by the flow's two steps. The one-step
student's pairs are the cache's, not some that the flow would simulate. The network gives clean images; a state of a
line implies its velocity.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from advkd.training.data import TrajectoryBatch
from advkd.training.methods.protocol import autocast
from benchmarks.peers.loop import Descent, learned
from benchmarks.peers.network import level_network, seeded
from benchmarks.peers.protocol import Problem, Trained

LEVELS = 16
"""Times 1/16 to 1 of the lines; 1 is the noise."""
FLOW, ANNEALED = 0.5, 0.25
"""Shares of the budget: of the flow in all, and of its annealing."""
LEAST = 0.25
"""Least time by which a velocity's error is divided, so that the cleanest states do not outweigh all others."""


class Rectified:
    """A `Learner` of two phases with the same network."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._recipe = problem.recipe
        self.timesteps = problem.captured(1)
        with seeded(problem.seed):
            self.network: nn.Module = level_network(problem, LEVELS)
        self._generator = torch.Generator().manual_seed(problem.seed)
        self._descent = Descent(self.network, problem.recipe)
        self._flow: nn.Module | None = None

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        if share < FLOW:
            self._descent.follow(self._velocity_loss(batch, annealing(share)), share / FLOW)
            return
        if self._flow is None:
            self._flow = deepcopy(self.network).requires_grad_(False)
            self._descent = Descent(self.network, self._recipe)
        self._descent.follow(self._one_step_loss(batch, self._flow), (share - FLOW) / (1.0 - FLOW))

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the network at time 1."""
        return FromNoise(averaged, LEVELS - 1)

    def _velocity_loss(self, batch: TrajectoryBatch, mixed: float) -> Tensor:
        clean, noise = batch.states[-1], annealed(batch.noise, self._fresh(batch.noise), mixed)
        levels = torch.randint(LEVELS, (len(noise),), generator=self._generator)
        times = ((levels + 1) / LEVELS).view(-1, 1, 1, 1)
        states = clean + times * (noise - clean)
        with autocast(self._recipe, states):
            estimate = self.network(states, levels, **batch.condition)
        # v = (x_t - x_0) / t, so its error is the clean estimate's over t.
        return ((estimate.float() - clean) / times.clamp_min(LEAST)).square().mean()

    def _one_step_loss(self, batch: TrajectoryBatch, flow: nn.Module) -> Tensor:
        half = len(batch.noise) // 2
        noise = torch.cat([batch.noise[:half], self._fresh(batch.noise[half:])])
        told = {name: values[half:] for name, values in batch.condition.items()}
        with autocast(self._recipe, noise):
            guided = two_steps(flow, noise[half:], told)
            predicted = self.network(noise, torch.full((len(noise),), LEVELS - 1), **batch.condition)
        return (predicted.float() - torch.cat([batch.states[-1][:half], guided])).square().mean()

    def _fresh(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._generator)


class FromNoise(nn.Module):
    """A one-step student: a network that is told levels, at the noise's."""

    def __init__(self, network: nn.Module, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """Returns clean states `[B, C, H, W]`."""
        levels = torch.full((len(noise),), self.level, device=noise.device)
        return self.network(noise, levels, **condition)  # type: ignore[no-any-return]


def annealing(share: float) -> float:
    """Returns how much of the noises is independent of the images: from 1 to 0, linearly (Zhu et al., section 3.1)."""
    return max(0.0, 1.0 - share / ANNEALED)


def annealed(noise: Tensor, fresh: Tensor, mixed: float) -> Tensor:
    """Returns `sqrt(1 - b^2) noise + b fresh`, unit normal as both are (Zhu et al., Eq. 7)."""
    return (1.0 - mixed**2) ** 0.5 * noise + mixed * fresh


@torch.no_grad()
def two_steps(flow: nn.Module, noise: Tensor, condition: dict[str, Tensor]) -> Tensor:
    """Returns where two Euler steps of a flow lead from noise: float32 `[B, C, H, W]`."""
    last = torch.full((len(noise),), LEVELS - 1)
    middle = 0.5 * (noise + flow(noise, last, **condition).float())
    return flow(middle, torch.full_like(last, LEVELS // 2 - 1), **condition).float()  # type: ignore[no-any-return]


def check(problem: Problem) -> None:
    """Checks that the network fits; raises `ValueError` as `level_network` does."""
    level_network(problem, LEVELS)


def train(problem: Problem) -> Trained:
    """Trains a flow, then a student of one step."""
    return learned(problem, Rectified(problem))
