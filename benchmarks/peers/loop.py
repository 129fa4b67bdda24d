"""The loop of all peers: one way of reading the cache, one clock, one average, one schedule.

The clock is the CPU time of the process, which a busy machine slows less than a wall clock. Every schedule runs on
the share of the budget that is used, so no peer has to know how many steps it will make.
"""

import math
from contextlib import closing
from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn

from advkd.device import no_denormals, torch_threads
from advkd.diffusion import conditions_of
from advkd.optimizers import Ema, Muon, kernels_and_rows
from advkd.training import TrainSpec
from advkd.training.data import TrajectoryBatch, to_torch
from benchmarks.peers.protocol import Problem, Trained
from storage import TrajectoryLoader


class Learner(Protocol):
    """A peer in training.

    Attributes:
        network: what is trained, and averaged by the loop.
        timesteps: of the states that it reads of the cache, the noise's first.
        passes: of the teacher's network so far.
    """

    network: nn.Module
    timesteps: tuple[int, ...]
    passes: int

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """Makes one update; `share` in [0, 1) is that of the budget which is used."""

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the one-pass student: noise and class labels to clean states."""


def learned(problem: Problem, learner: Learner) -> Trained:
    """Trains until the budget is used."""
    recipe, facts = problem.recipe, problem.facts
    conditions = conditions_of(facts.conditioning)
    loader = TrajectoryLoader(
        problem.store,
        timesteps=learner.timesteps,
        batch_size=recipe.batch_size,
        seed=problem.seed,
        window=recipe.window,
        num_samples=recipe.trajectories,
    )
    average, steps, halflife = Ema(learner.network), 0, recipe.ema_halflife / recipe.samples
    with torch_threads(1), no_denormals(), closing(iter(loader)) as batches:
        began = problem.clock()
        while (used := problem.clock() - began) < problem.seconds:
            stored = next(batches)
            batch = to_torch(stored, learner.timesteps, torch.device("cpu")).conditioned(
                conditions, facts.base_seed, stored.indices
            )
            learner.step(batch, used / problem.seconds)
            steps += 1
            average.update(learner.network, recipe.batch_size, halflife * steps * recipe.batch_size)
    averaged = deepcopy(learner.network)
    averaged.load_state_dict(average.state_dict())
    return Trained(student=learner.student(averaged).eval(), steps=steps, seconds=used, passes=learner.passes)


class Descent:
    """Our recipe's optimizer (Muon), its rate a rise and a cosine to zero over a share of the budget."""

    def __init__(self, network: nn.Module, recipe: TrainSpec) -> None:
        self._recipe, self._rise = recipe, recipe.rise_samples / recipe.samples
        self._optimizer = Muon(kernels_and_rows(network), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def follow(self, loss: Tensor, share: float) -> None:
        """Makes one update downhill at a share in [0, 1) of this descent."""
        self.ready(share)
        loss.backward()
        self._optimizer.step()

    def ready(self, share: float) -> None:
        """Sets the rate and clears the gradients; whoever adds them calls `move`."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * rate(share, self._rise)
        self._optimizer.zero_grad(set_to_none=True)

    def move(self) -> None:
        """Makes the update of the gradients that were added."""
        self._optimizer.step()


def rate(share: float, rise: float) -> float:
    """Returns the learning rate over its peak: a linear rise, times a cosine to zero."""
    return min(1.0, (share + 1e-3) / max(rise, 1e-3)) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
