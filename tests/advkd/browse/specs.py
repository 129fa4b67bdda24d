"""Stores to look at, of grey images and of a teacher that is known to show digits, and students of them."""

from pathlib import Path
from typing import Any

import torch

from advkd.browse.overview import DIGITS_FINGERPRINTS
from advkd.students import LayerwiseStudent
from storage import TrajectorySpec
from storage.testing.trajectories import make_spec


def digits_spec(**changes: Any) -> TrajectorySpec:
    """As `image_spec`, of a teacher that is known to show digits."""
    return image_spec(**({"sample_shape": (1, 16, 16), "fingerprint": sorted(DIGITS_FINGERPRINTS)[0]} | changes))


def image_spec(**changes: Any) -> TrajectorySpec:
    """Grey 8x8 images in shards of 32 samples, blocks of 4: single samples are ranged reads."""
    return make_spec(**({"sample_shape": (1, 8, 8), "shard_samples": 32, "block_samples": 4} | changes))


def student_folder(folder: Path, shape: tuple[int, int, int] = (1, 8, 8), timesteps=(999, 500, 0), seed=0) -> str:
    torch.manual_seed(seed)
    signal, sigma = {3: ((0.01, 0.5, 1.0), (0.99, 0.8, 0.0)), 2: ((0.01, 1.0), (0.99, 0.0))}[len(timesteps)]
    LayerwiseStudent(shape, timesteps, signal, sigma, width=8, blocks=1, patch=2).save_pretrained(folder)
    return str(folder)
