"""Small specs and the states that a deterministic pretend teacher gives for them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from storage import Manifest, TrajectorySpec, missing_shards, open_writer, seal
from storage.records import initial_noise, start_noise

SHAPE = (2, 4, 4)


def make_spec(**changes: Any) -> TrajectorySpec:
    """Returns a spec with shards of 8 samples in blocks of 4."""
    fields: dict[str, Any] = {
        "teacher": "digits",
        "fingerprint": "a" * 64,
        "sampler": "ddim",
        "deterministic": True,
        "sampler_config": {"eta": 0.0, "clip_sample": False},
        "solver_steps": 20,
        "timesteps": (999, 500, 0),
        "signal": (0.01, 0.5, 1.0),
        "sigma": (0.99, 0.8, 0.0),
        "sample_shape": SHAPE,
        "base_seed": 7,
        "shard_samples": 8,
        "block_samples": 4,
    }
    return TrajectorySpec(**(fields | changes))


def states_of(spec: TrajectorySpec, start: int, stop: int) -> dict[int, npt.NDArray[np.float32]]:
    """Returns states of samples `start` to `stop - 1`: each a fixed function of the sample's own noise."""
    noise = initial_noise(spec.base_seed, start, stop, spec.sample_shape)
    levels = zip(spec.timesteps, spec.signal, spec.sigma, strict=True)
    states = {t: np.tanh(noise) * a + s * noise for t, a, s in levels}
    # A first state that is the noise itself is the noise from which solvers start (law 9), as readers draw it again.
    if spec.signal[0] == 0.0 or spec.noise == "seeded":
        states[spec.timesteps[0]] = start_noise(spec, start, stop - start)
    return states


def shard_states(spec: TrajectorySpec, shard: int) -> dict[int, npt.NDArray[np.float32]]:
    """Returns the states of a whole shard."""
    return states_of(spec, shard * spec.shard_samples, (shard + 1) * spec.shard_samples)


def fill(root: str, spec: TrajectorySpec, num_samples: int) -> Manifest:
    """Computes what is missing, and seals."""
    writer = open_writer(root, spec)
    for shard in missing_shards(root, spec, num_samples):
        writer.write_shard(shard, shard_states(spec, shard), elapsed_seconds=0.5)
    return seal(root, spec, num_samples)
