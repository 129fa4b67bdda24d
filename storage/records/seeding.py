"""The noise of sample i depends on (base seed, i) alone (law 1 of the store).

The pair is the key of a counter-based generator (Philox, Salmon et al. 2011), so batches, shards, workers and order do
not matter. Must not import torch.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_NOISE_STREAM = 0
_SOLVER_STREAM = 1
_CONDITION_COUNTER = 1
"""Keys have room for two streams. The third stream uses the first one's key and a counter that no noise reaches."""
_MAX_SEED = 2**63


def check_seed(seed: int) -> int:
    """Returns the seed if it is in [0, 2**63), else raises `ValueError`."""
    if not 0 <= seed < _MAX_SEED:
        raise ValueError(f"a base seed must lie in [0, 2**63), got {seed}; choose a non-negative integer")
    return seed


def initial_noise(base_seed: int, start: int, stop: int, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Draws the unit normal noise x_T of samples `start` to `stop - 1`: float32 `[stop - start, *shape]`."""
    noise = np.empty((stop - start, *shape), dtype=np.float32)
    for row, index in enumerate(range(start, stop)):
        noise[row] = _generator(base_seed, index, _NOISE_STREAM).standard_normal(tuple(shape), dtype=np.float32)
    return noise


def solver_seeds(base_seed: int, start: int, stop: int) -> list[int]:
    """Draws one 63-bit seed per sample for a stochastic solver's noise, independent of `initial_noise`."""
    return [int(_generator(base_seed, i, _SOLVER_STREAM).integers(_MAX_SEED)) for i in range(start, stop)]


def condition_generator(base_seed: int, index: int) -> np.random.Generator:
    """Returns the generator of sample `index`'s condition, independent of `initial_noise` and `solver_seeds`."""
    return _generator(base_seed, index, _NOISE_STREAM, counter=[0, 0, 0, _CONDITION_COUNTER])


def _generator(base_seed: int, index: int, stream: int, counter: Sequence[int] | None = None) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[check_seed(base_seed), 2 * index + stream], counter=counter))
