"""Limits of the stores that pages show: no memory and no time is spent on what a record says of itself."""

import math

from advkd.diffusion import conditions_of
from storage import TrajectorySpec

MOST_TIMESTEPS = 1024
"""Timesteps of a store: all steps of a common teacher, and the noise."""
MOST_VALUES = 2**23
"""Values of one state: 3 channels of 1024 x 1024 are 3 million."""
MOST_NOISE_VALUES = 2**30
"""Values of a shard's noise where it is not stored, for one shard's is drawn to be compared."""


def too_large(spec: TrajectorySpec) -> str | None:
    """Returns why a store cannot be shown, None if it can."""
    values, timesteps = math.prod(spec.sample_shape), len(spec.timesteps)
    if timesteps > MOST_TIMESTEPS:
        return f"a store is shown if it has at most {MOST_TIMESTEPS:,} timesteps, got {timesteps:,}; choose fewer"
    if values > MOST_VALUES:
        return (
            f"a store is shown if a state has at most {MOST_VALUES:,} values, got {values:,} of shape "
            f"{list(spec.sample_shape)}; choose a smaller one"
        )
    if spec.noise == "seeded" and spec.shard_samples * values > MOST_NOISE_VALUES:
        return (
            f"a store whose noise is drawn again is shown if a shard's has at most {MOST_NOISE_VALUES:,} values, got "
            f"{spec.shard_samples * values:,}; choose smaller shards"
        )
    try:
        conditions_of(spec.conditioning)
    except (ValueError, TypeError) as error:
        return f"a store is shown if its condition is of a known kind: {error}"
    return None
