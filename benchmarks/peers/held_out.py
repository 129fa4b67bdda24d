"""A student beside trajectories of the cache that it was not trained on: costs no pass of the teacher.

For teachers whose curve takes hours. It has no worth: the target is the cache's own solver, not a fine solution.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from advkd.diffusion import conditions_of, start_of
from advkd.distances import collected
from advkd.evaluation.scores import score
from advkd.evaluation.student_states import BATCH, student_states
from advkd.features import Extractor, state_features
from advkd.training import TrainSpec
from benchmarks.peers.protocol import Problem
from storage import open_store


def trained_on_others(recipe: TrainSpec, problem: Problem, count: int) -> TrainSpec:
    """Returns the recipe for all but the last `count` trajectories of the cache.

    Raises:
        ValueError: the others are fewer than a batch, or fewer than two are held out.
    """
    samples = open_store(problem.store).manifest.num_samples
    if not 2 <= count <= samples - recipe.batch_size:
        raise ValueError(
            f"between 2 and {samples - recipe.batch_size} of {samples} trajectories can be held out, as others are at "
            f"least a batch, got {count}; hold out another number"
        )
    others = samples - count
    return replace(recipe, trajectories=min(recipe.trajectories or others, others))


def held_out_figures(
    student: Any, problem: Problem, extractor: Extractor, count: int
) -> tuple[dict[str, float], Tensor]:
    """Returns a student's figures beside the last `count` trajectories of the cache, and its states `[count, C, H, W]`.

    The student must have been trained on the others alone (`trained_on_others`).
    """
    facts, reader = problem.facts, open_store(problem.store)
    indices = range(reader.manifest.num_samples - count, reader.manifest.num_samples)
    first, last = facts.timesteps[0], facts.timesteps[-1]
    states = {t: torch.from_numpy(values).float() for t, values in reader.read_samples(indices, [first, last]).items()}
    conditions = conditions_of(facts.conditioning)
    start = start_of(states[first], conditions, facts.base_seed, indices)
    made = torch.cat([student_states(student, part, "cpu", conditions) for part in start.split(BATCH)])
    ours, theirs = (
        collected(name, state_features(extractor, problem.teacher.space, images, "cpu"))
        for name, images in (("student", made), ("cache", states[last]))
    )
    scores = score(ours, theirs, extractor)
    return {name: metric.value for name, metric in vars(scores).items() if metric is not None}, made
