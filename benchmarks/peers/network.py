"""Our student's network for methods that show it states of several noise levels.

Levels are told as classes are: the network is our student with one class for every level (and, where the teacher has
classes, for every pair of level and class), so that peers have its layers, whatever these are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advkd.diffusion import LABELS
from benchmarks.peers.protocol import Problem, our_network

TOLERANCE = 0.05
"""By how much a peer's number of parameters may differ from ours."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws weights inside by the seed alone, and leaves torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class LevelNetwork(nn.Module):
    """From states `[B, C, H, W]`, levels `[B]` and class labels `[B]` to clean estimates `[B, C, H, W]`."""

    def __init__(self, network: nn.Module, classes: int | None) -> None:
        super().__init__()
        self.network = network
        self.classes = classes or 1

    def forward(self, states: Tensor, levels: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Returns one estimate per state."""
        told = levels * self.classes + (0 if class_labels is None else class_labels)
        return self.network(states, class_labels=told)  # type: ignore[no-any-return]


class LevelAndClass(nn.Module):
    """The embedding of a level and a class as the sum of both, in the place of one for every pair."""

    def __init__(self, levels: int, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.of_level = nn.Embedding(levels, width)
        self.of_class = nn.Embedding(classes, width)

    def forward(self, told: Tensor) -> Tensor:
        """Maps numbers `[B]` of pairs to embeddings `[B, width]`."""
        level = self.of_level(torch.div(told, self.classes, rounding_mode="floor"))
        return level + self.of_class(told % self.classes)  # type: ignore[no-any-return]


def level_network(problem: Problem, levels: int) -> LevelNetwork:
    """Builds our network, told of `levels` levels, with as many submodules as the parameters allow.

    Every submodule is told the level, which takes parameters; fewer submodules with as many blocks in all take fewer.

    Raises:
        ValueError: with no number of submodules it has as many parameters as ours, within `TOLERANCE`.
    """
    classes, shape = problem.classes or 1, problem.recipe.student
    timesteps = problem.recipe.timesteps
    assert timesteps is not None
    most = len(timesteps) - 1
    blocks = sum(shape.blocks) if isinstance(shape.blocks, tuple | list) else shape.blocks * most
    counts = []
    for submodules in range(min(most, blocks), 0, -1):
        network = our_network(
            problem,
            **_grid(problem, submodules),
            blocks=_dealt(blocks, submodules),
            conditioning={"kind": LABELS, "classes": levels * classes, "distribution": "uniform"},
        )
        if isinstance(getattr(network, "embedding", None), nn.Embedding) and classes > 1:
            network.embedding = LevelAndClass(levels, classes, shape.width)
        counts.append(sum(weight.numel() for weight in network.parameters()))
        if abs(counts[-1] / problem.our_parameters - 1.0) <= TOLERANCE:
            return LevelNetwork(network, problem.classes)
    raise ValueError(
        f"a peer's network must have our {problem.our_parameters} parameters within {TOLERANCE:.0%}, got "
        f"{counts} when it is told {levels} levels; widen the student, or leave the peer out"
    )


def _grid(problem: Problem, submodules: int) -> dict[str, object]:
    """Returns a grid for so many submodules; what is told a level makes no use of its coefficients."""
    facts, timesteps = problem.facts, problem.captured(submodules)
    places = [facts.timesteps.index(timestep) for timestep in timesteps]
    return {
        "timesteps": list(timesteps),
        "signal": [facts.signal[place] for place in places],
        "sigma": [facts.sigma[place] for place in places],
    }


def _dealt(blocks: int, submodules: int) -> list[int]:
    return [blocks // submodules + (k < blocks % submodules) for k in range(submodules)]
