"""Noise that is not stored but drawn again from the base seed, to the same values as if it were stored.

Generators may change with a release of numpy or with a platform's arithmetic, so the hash of every shard's noise is in
the records, and noise that does not match it is refused like any other object.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.records.seeding import initial_noise
from storage.records.spec import TrajectorySpec

NOISE = "(noise drawn from the seed)"
"""Stands for the key of an object in problems with it."""


def start_noise(spec: TrajectorySpec, start: int, count: int) -> npt.NDArray[np.float32]:
    """x_T from which a solver starts, of samples `start` and following: float32 `[count, C, H, W]`.

    It is rounded to the spec's dtype, so whoever takes the noise from a store and runs the teacher gets the stored
    states (law 9: the pair is a pair).
    """
    return initial_noise(spec.base_seed, start, start + count, spec.sample_shape).astype(spec.dtype).astype(np.float32)


def drawn_noise(spec: TrajectorySpec, start: int, count: int) -> npt.NDArray[Any]:
    """x_T of samples `start` and following as it would be stored: `[count, C, H_0, W_0]` in the spec's dtype."""
    encoding = spec.encoding(spec.timesteps[0])
    return encoding.encode(encoding.reduced(start_noise(spec, start, count)))


def seeded_noise(spec: TrajectorySpec, shard: int) -> npt.NDArray[Any]:
    """x_T of a whole shard, `[S, C, H_0, W_0]` in the spec's dtype, drawn block by block."""
    noise = np.empty((spec.shard_samples, *spec.state_shape(spec.timesteps[0])), dtype=spec.dtype)
    for row in range(0, spec.shard_samples, spec.block_samples):
        start = shard * spec.shard_samples + row
        noise[row : row + spec.block_samples] = drawn_noise(spec, start, spec.block_samples)
    return noise


def noise_sha256(noise: npt.NDArray[Any]) -> str:
    """sha256 over the bytes of a shard's noise, 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(noise).data).hexdigest()
