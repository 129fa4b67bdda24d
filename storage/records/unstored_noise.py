"""Draws noise that is not stored again from the base seed, to the values that would have been stored.

A generator may change with a release of numpy or with a platform's arithmetic. So the records hold the hash of every
shard's noise, and noise with another hash is refused like a damaged object.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.records.seeding import initial_noise
from storage.records.spec import TrajectorySpec

NOISE = "(noise drawn from the seed)"
"""Takes the place of an object's key in problems with such noise."""


def start_noise(spec: TrajectorySpec, start: int, count: int) -> npt.NDArray[np.float32]:
    """Draws x_T from which a solver starts, for `count` samples from `start` on: float32 `[count, C, H, W]`.

    It is rounded to the spec's dtype: a teacher that starts from the noise in a store gives the stored states (law 9:
    the pair is a pair).
    """
    return initial_noise(spec.base_seed, start, start + count, spec.sample_shape).astype(spec.dtype).astype(np.float32)


def drawn_noise(spec: TrajectorySpec, start: int, count: int) -> npt.NDArray[Any]:
    """Draws x_T of `count` samples from `start` on as it would be stored: `[count, C, H_0, W_0]`, spec's dtype."""
    encoding = spec.encoding(spec.timesteps[0])
    return encoding.encode(encoding.reduced(start_noise(spec, start, count)))


def seeded_noise(spec: TrajectorySpec, shard: int) -> npt.NDArray[Any]:
    """Draws x_T of a whole shard block by block: `[S, C, H_0, W_0]` in the spec's dtype."""
    noise = np.empty((spec.shard_samples, *spec.state_shape(spec.timesteps[0])), dtype=spec.dtype)
    for row in range(0, spec.shard_samples, spec.block_samples):
        start = shard * spec.shard_samples + row
        noise[row : row + spec.block_samples] = drawn_noise(spec, start, spec.block_samples)
    return noise


def noise_sha256(noise: npt.NDArray[Any]) -> str:
    """Returns the sha256 of the bytes of a shard's noise, 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(noise).data).hexdigest()
