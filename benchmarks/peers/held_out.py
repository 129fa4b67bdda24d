"""A student beside trajectories of the cache that it was not trained on: costs no pass of the teacher.

For teachers whose curve takes hours. It has no worth: the target is the cache's own solver, not a fine solution.
"""

from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import conditions_of
from advkd.distances import Accumulator, FeatureSet
from advkd.evaluation.scores import score
from advkd.evaluation.student_states import BATCH
from advkd.features import Extractor, state_features
from advkd.training.data import TrajectoryBatch, to_torch
from benchmarks.peers.protocol import Problem
from storage import TrajectoryLoader


@torch.no_grad()
def held_out_figures(
    student: Any, problem: Problem, extractor: Extractor, count: int
) -> tuple[dict[str, float], Tensor]:
    """Returns a student's figures beside the last `count` trajectories of the cache, and its images `[count, C, H, W]`.

    The student must have been trained on the others alone (`TrainSpec.trajectories`).
    """
    kept = _last(problem, count)
    condition = [{name: values[rows] for name, values in kept.condition.items()} for rows in _rows(count)]
    made = torch.cat(
        [student(kept.noise[rows], **told).float() for rows, told in zip(_rows(count), condition, strict=True)]
    )
    ours, theirs = (_features(states, extractor, problem) for states in (made, kept.states[-1]))
    scores = score(ours, theirs, extractor)
    return {metric.name.partition("(")[0].lower(): metric.value for metric in scores.metrics()}, made


def _last(problem: Problem, count: int) -> TrajectoryBatch:
    """Noise and clean state of the last trajectories, in the order of their numbers, with their conditions."""
    facts = problem.facts
    ends = (facts.timesteps[0], facts.timesteps[-1])
    loader = TrajectoryLoader(problem.store, timesteps=ends, batch_size=BATCH, seed=0, window=1, drop_last=False)
    first = loader.num_samples - count
    parts = []
    for stored in loader.epoch(0):
        batch = to_torch(stored, ends, torch.device("cpu"))
        batch = batch.conditioned(conditions_of(facts.conditioning), facts.base_seed, stored.indices)
        parts += [
            (int(index), row)
            for index, row in zip(stored.indices, batch.split(len(stored.indices)), strict=True)
            if index >= first
        ]
    rows = [row for _, row in sorted(parts, key=lambda part: part[0])]
    return TrajectoryBatch(
        noise=torch.cat([row.noise for row in rows]),
        states=(torch.cat([row.states[-1] for row in rows]),),
        condition={name: torch.cat([row.condition[name] for row in rows]) for name in rows[0].condition},
    )


def _features(states: Tensor, extractor: Extractor, problem: Problem) -> FeatureSet:
    gathered = Accumulator(extractor.dims)
    for rows in _rows(len(states)):
        gathered.add(state_features(extractor, problem.teacher.space, states[rows], "cpu"))
    return gathered.finished("student")


def _rows(count: int) -> list[slice]:
    return [slice(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]
