"""What every peer is given, and what it gives back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from advkd.diffusion import LABELS, Labels, spread_captures
from advkd.presets import fitted, preset
from advkd.students import STUDENTS
from advkd.teachers import Teacher
from advkd.training import TrainSpec
from advkd.trajectories import PrecomputeSpec
from storage import TrajectorySpec, open_store

PRESET = "quick"
"""Whose student, optimizer and cache all peers have."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What every peer is given.

    Attributes:
        teacher: of the cache; a method that asks it while it trains counts the passes.
        store: URI of the cache, which has every state of the solver.
        seconds: CPU seconds of training, of one process with one torch thread.
        seed: of weights, order of samples and whatever else is drawn.
        clock: by which seconds are counted.
        given: a recipe instead of our preset's; its seed is replaced.
    """

    teacher: Teacher
    store: str
    seconds: float
    seed: int = 0
    clock: Callable[[], float] = time.process_time
    given: TrainSpec | None = None

    @cached_property
    def facts(self) -> TrajectorySpec:
        """The cache's identity."""
        return open_store(self.store).manifest.spec

    @cached_property
    def recipe(self) -> TrainSpec:
        """Our recipe for this cache: peers have its network, batch, precision and optimizer."""
        if self.given is not None:
            return replace(self.given, seed=self.seed)
        own = fitted(preset(PRESET), self.facts)
        assert isinstance(own, TrainSpec)
        return replace(own, seed=self.seed, timesteps=self.captured(preset(PRESET).precompute.captures))

    def captured(self, count: int) -> tuple[int, ...]:
        """Returns the timesteps of noise and `count` states, spread over the solver's as our preset spreads them."""
        return spread_captures(self.facts.timesteps, count, preset(PRESET).precompute.shrink)

    @cached_property
    def classes(self) -> int | None:
        """Number of classes, None without class labels."""
        facts = self.facts.conditioning
        return None if facts is None else Labels(facts).classes

    @cached_property
    def our_parameters(self) -> int:
        """Parameters of our student, which others match within `network.TOLERANCE`."""
        return sum(weight.numel() for weight in our_network(self).parameters())


def our_network(problem: Problem, **changes: object) -> nn.Module:
    """Builds the student of our recipe, untrained; `changes` replace arguments of its class."""
    facts, shape = problem.facts, problem.recipe.student
    timesteps = problem.recipe.timesteps
    assert timesteps is not None
    places = [facts.timesteps.index(timestep) for timestep in timesteps]
    arguments: dict[str, object] = {
        "sample_shape": list(facts.sample_shape),
        "timesteps": list(timesteps),
        "signal": [facts.signal[place] for place in places],
        "sigma": [facts.sigma[place] for place in places],
        "width": shape.width,
        "blocks": shape.blocks,
        "patch": shape.patch,
        "levels": shape.levels,
        "attention": shape.attention,
        "space": facts.space,
        **({} if facts.conditioning is None else {"conditioning": dict(facts.conditioning)}),
    }
    network: nn.Module = STUDENTS[shape.kind](**arguments | changes)
    return network


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a peer gives back.

    Attributes:
        student: from noise `[B, C, H, W]`, with `class_labels=` `[B]` where the teacher has classes, to clean states.
        steps: updates.
        seconds: CPU seconds that they took.
        passes: network passes of the teacher during training, those of the cache apart.
    """

    student: nn.Module
    steps: int
    seconds: float
    passes: int


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A row of `PEERS`.

    Attributes:
        title: of its row in the page.
        source: the paper, as a link.
        notes: what it reads of the cache, and where it departs from the paper.
        train: trains it within the budget.
        check: raises `ValueError` for a problem that does not fit, before anything is trained.
    """

    title: str
    source: str
    notes: str
    train: Callable[[Problem], Trained]
    check: Callable[[Problem], None] = lambda problem: None


def cache_spec(teacher: str, store: str, trajectories: int | None = None, steps: int | None = None) -> PrecomputeSpec:
    """Returns the cache of our preset with every state of its solver, which takes no more passes than a few of them.

    Args:
        teacher: source of the teacher.
        store: URI of the root of stores.
        trajectories: instead of the preset's.
        steps: of the solver, instead of the preset's.
    """
    own = preset(PRESET).precompute
    solver = replace(own.solver, steps=steps or own.solver.steps)
    return replace(
        own,
        teacher=teacher,
        store=store,
        samples=trajectories or own.samples,
        solver=solver,
        captures=solver.steps,
        shrink=1.0,
    )


def check_problem(problem: Problem) -> None:
    """Checks what no peer can do without.

    Raises:
        ValueError: the budget is not positive, samples have prompts, or a batch is larger than the cache.
    """
    if problem.seconds <= 0:
        raise ValueError(f"a budget must be positive CPU seconds, got {problem.seconds:g}; give more")
    conditioning = problem.facts.conditioning
    if conditioning is not None and conditioning.get("kind") != LABELS:
        raise ValueError(
            f"peers are compared without conditions or with class labels, got a teacher of "
            f"{conditioning.get('kind')!r}; choose another teacher"
        )
    samples, batch = open_store(problem.store).manifest.num_samples, problem.recipe.batch_size
    if samples < batch:
        raise ValueError(
            f"a cache must hold a batch of {batch} trajectories or more, got {samples}; raise --trajectories"
        )
