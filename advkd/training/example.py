"""Made-up batches of a store's shapes, with which a plan counts and times a run before there is a store."""

import torch
from torch import Tensor

from advkd.diffusion import PROMPTS, conditions_of, drawn_condition, prompt_shapes
from advkd.training.data import TrajectoryBatch
from storage import TrajectorySpec


def example_condition(store: TrajectorySpec, count: int) -> dict[str, Tensor]:
    """Returns conditions of `count` samples, each `[count, ...]` on the CPU: drawn ones; of prompts, zeros."""
    facts = store.conditioning
    if facts is not None and facts.get("kind") == PROMPTS:
        return {name: torch.zeros(count, *shape) for name, shape in prompt_shapes(facts).items()}
    return drawn_condition(conditions_of(facts), 0, range(count))


def example_batch(store: TrajectorySpec, count: int, device: torch.device) -> TrajectoryBatch:
    """Returns `count` trajectories of unit normal numbers in the shapes of a training grid's states."""
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(count, *store.state_shape(t), generator=generator).to(device) for t in store.timesteps]
    condition = {name: values.to(device) for name, values in example_condition(store, count).items()}
    return TrajectoryBatch(noise=states[0], states=tuple(states[1:]), condition=condition)
