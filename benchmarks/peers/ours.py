"""The base: our recipe, its schedules on the share of the budget instead of on samples seen."""

from torch import nn

from advkd.training.data import TrajectoryBatch
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.mirroring import mirrored
from benchmarks.peers.loop import learned
from benchmarks.peers.protocol import Problem, Trained


class Ours:
    """A `Learner` around `LayerwiseMethod`, which finds phase and rate by its clock of samples."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        self._method = LayerwiseMethod(problem.recipe, problem.facts)
        self.network: nn.Module = self._method.state.student
        self._steps = 0
        self.timesteps = self._method.store.timesteps

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        self._method.state.samples = int(share * self._method.spec.samples)
        spec = self._method.spec
        self._method.step(mirrored(batch, spec, self._steps * spec.batch_size))
        self._steps += 1

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the student itself."""
        return averaged


def train(problem: Problem) -> Trained:
    """Trains our student."""
    return learned(problem, Ours(problem))
