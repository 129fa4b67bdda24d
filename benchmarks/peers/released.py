"""The released Adv-KD recipe with its faults fixed, from the cache that all have.

Mekonnen et al. 2024, https://arxiv.org/abs/2405.20675, as `advkd.training.methods.paper` trains it: progressive, by an
adversarial loss alone, of a student that grows from 4x4 noise. The released code's cache is another one: ancestral
trajectories of 1000 passes each, stored as a pyramid. With as many passes as this cache took, that would be a hundredth
of the trajectories, so it gets the same deterministic states, as many as its pyramid needs, and reduces them itself.
It knows no classes: its student ignores them, and is judged over all of them together.
"""

from dataclasses import replace

from torch import Tensor, nn

from advkd.students import ProgressiveStudent
from advkd.training import PaperSpec
from advkd.training.data import TrajectoryBatch
from advkd.training.methods.paper import PaperMethod
from benchmarks.peers.loop import learned
from benchmarks.peers.network import TOLERANCE
from benchmarks.peers.protocol import Problem, Trained

CLOCK = 10**6
"""Steps of the method's clock in a budget; its phases begin at shares of it."""
WIDEST = 256
RATE = 1e-3
"""Adam's rate. In 54 CPU seconds of `digits`, runs ended at FD 1185 and 1719 with it, at 2147 with the paper's 1e-4,
and at 701 and 2105 (one image for every noise) with 3e-3."""


class WithoutClasses(nn.Module):
    """A student that takes class labels, and makes nothing of them."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, noise: Tensor, **condition: Tensor) -> Tensor:
        """Returns clean states `[B, C, H, W]`."""
        return self.student(noise)  # type: ignore[no-any-return]


class Released:
    """A `Learner` around `PaperMethod`, which finds its phase by its clock of samples."""

    passes = 0

    def __init__(self, problem: Problem) -> None:
        spec = PaperSpec(
            samples=CLOCK * problem.recipe.batch_size,
            batch_size=problem.recipe.batch_size,
            precision=problem.recipe.precision,
            learning_rate=RATE,
            seed=problem.seed,
            timesteps=timesteps(problem),
            width=width(problem),
        )
        self._method = PaperMethod(spec, replace(problem.facts, conditioning=None))
        self.network: nn.Module = self._method.state.student
        self.timesteps = self._method.store.timesteps

    def step(self, batch: TrajectoryBatch, share: float) -> None:
        """See `Learner.step`."""
        method, before = self._method, self._method.submodule
        method.state.samples = int(share * CLOCK) * method.spec.batch_size
        if method.submodule != before:
            # Every phase has a fresh optimizer; the method sees to it where its clock meets a phase's first step.
            method.state.student_optimizer.state.clear()
        method.step(batch)

    def student(self, averaged: nn.Module) -> nn.Module:
        """Returns the student, which takes and ignores class labels."""
        return WithoutClasses(averaged)


def timesteps(problem: Problem) -> tuple[int, ...]:
    """Returns the states of the cache that it is trained on: ours, or as many more as the student needs to grow.

    Raises:
        ValueError: the student cannot grow to the teacher's states, or the cache has too few.
    """
    ours = len(problem.recipe.timesteps or ()) - 1
    for count in range(ours, len(problem.facts.timesteps)):
        chosen = problem.captured(count)
        try:
            _student(problem, chosen, width=1)
        except ValueError:
            if count == len(problem.facts.timesteps) - 1:
                raise
        else:
            return chosen
    raise AssertionError("the last count returns or raises")


def width(problem: Problem) -> int:
    """Returns the width with which the student's parameters are nearest to ours.

    Raises:
        ValueError: none is near enough.
    """
    chosen = timesteps(problem)
    counts = {}
    for candidate in range(1, WIDEST + 1):
        student = _student(problem, chosen, candidate)
        counts[candidate] = sum(weight.numel() for weight in student.parameters())
        if counts[candidate] > problem.our_parameters:
            break
    nearest = min(counts, key=lambda candidate: abs(counts[candidate] - problem.our_parameters))
    if abs(counts[nearest] / problem.our_parameters - 1.0) > TOLERANCE:
        raise ValueError(
            f"a peer's network must have our {problem.our_parameters} parameters within {TOLERANCE:.0%}, got "
            f"{counts[nearest]} at the best width, {nearest}; leave the peer out with --peers"
        )
    return nearest


def _student(problem: Problem, chosen: tuple[int, ...], width: int) -> ProgressiveStudent:
    facts = problem.facts
    places = [facts.timesteps.index(timestep) for timestep in chosen]
    return ProgressiveStudent(
        sample_shape=list(facts.sample_shape),
        timesteps=list(chosen),
        signal=[facts.signal[place] for place in places],
        sigma=[facts.sigma[place] for place in places],
        width=width,
    )


def check(problem: Problem) -> None:
    """Checks that the student can grow to the teacher's states; raises `ValueError` as `timesteps` and `width` do."""
    width(problem)


def train(problem: Problem) -> Trained:
    """Trains the paper's student."""
    return learned(problem, Released(problem))
