"""Distillation of pairs: from the noise to the clean state, and nothing else.

Luhman and Luhman 2021, https://arxiv.org/abs/2101.02388. Their student begins as a copy of the teacher, which a smaller
network cannot; their Adam loses to Muon here (`docs/recipe.md`).
"""

from torch import nn

from advkd.training.data import TrajectoryBatch
from advkd.training.methods.protocol import autocast
from benchmarks.peers.loop import Descent, learned
from benchmarks.peers.network import seeded
from benchmarks.peers.protocol import Problem, Trained, our_network


class Pairs:
    """A `Learner`: least squares on pairs."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._recipe = problem.recipe
        with seeded(problem.seed):
            self.network = our_network(problem)
        self._descent = Descent(self.network, problem.recipe)
        self.timesteps = problem.captured(1)

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        with autocast(self._recipe, batch.noise):
            clean = self.network(batch.noise, **batch.condition)
        # Luhman and Luhman, Eq. 8, but for a constant.
        self._descent.follow((clean.float() - batch.states[-1]).square().mean(), share)

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the network itself: it is ours."""
        return averaged


def train(problem: Problem) -> Trained:
    """Trains a student of pairs."""
    return learned(problem, Pairs(problem))
