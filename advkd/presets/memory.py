"""Measures the memory of a training step before there is a store: on a made-up batch of a few trajectories."""

from dataclasses import replace

import torch

from advkd.device import LiveBytes
from advkd.training import RunSpec, build_method, example_batch
from storage import TrajectorySpec

_PIXELS = 16 * 32 * 32
_FEWEST = 2


def trajectory_bytes(train: RunSpec, store: TrajectorySpec) -> int:
    """Returns the bytes that tensors of a step take for each trajectory that it computes at once, as a few took.

    The last step of the run is measured, with a gradient penalty: it has every network and both optimizers. Weights and
    what a device's kernels take for themselves are not counted. What the optimizers take is counted with the few, so a
    larger batch takes less than so many times these.

    Raises:
        ValueError: the spec does not fit the store.
    """
    rows = min(train.batch_size, max(_FEWEST, _PIXELS // (store.sample_shape[1] * store.sample_shape[2])))
    method = build_method(
        replace(train, device="cpu", batch_size=rows, accumulate=1, samples=train.steps * rows), store
    )
    method.state.samples = (train.steps - 1) * rows
    batch = example_batch(method.store, rows, torch.device("cpu"))
    counted = LiveBytes()
    with counted:
        method.step(batch)
    return -(-counted.peak // rows)
