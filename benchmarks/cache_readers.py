"""Readers that are compared: numpy, zarr and webdataset as they come, and our loader.

Each function is called in a process of its own, so that no reader inherits memory that another one has warmed or
fragmented, and gives MB/s of states. What is imported on first use is imported before the clock starts.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.cache_data import BATCH, TIMESTEPS
from benchmarks.measure import megabytes_per_second
from storage import Batch, TrajectoryLoader

PASSES = 4
WARM_EPOCHS = 2
"""After these every window that is held has been filled once."""


def arrays_speed(files: Sequence[str], keep: bool) -> float:
    """Every `.npy` file whole: all kept until the last is read, or each let go before the next is read."""

    def read() -> int:
        arrays = (np.load(file) for file in files)
        return sum(array.nbytes for array in (list(arrays) if keep else arrays))

    read()
    return megabytes_per_second(lambda: sum(read() for _ in range(PASSES)))


def zarr_speed(uri: str, rows: int) -> float:
    """Every array of a store through plain zarr, so many samples at a time."""
    import zarr

    def read() -> int:
        group, count = zarr.open_group(uri, mode="r"), 0
        for t in TIMESTEPS:
            array = group[f"t{t:04d}"]
            count += sum(array[start : start + rows].nbytes for start in range(0, array.shape[0], rows))
        return count

    read()
    return megabytes_per_second(read)


def tars_speed(tars: Sequence[str], buffer: int = 0) -> float:
    """Every sample of a store's tars through plain webdataset."""
    samples = tar_samples(tars, buffer)
    return megabytes_per_second(
        lambda: sum(value.nbytes for sample in samples for name, value in sample.items() if name.endswith(".npy"))
    )


def tar_samples(tars: Sequence[str], buffer: int = 0, seed: int = 0) -> Iterable[dict[str, Any]]:
    """A store's samples through plain webdataset, in order, or shuffled: tars at random, then in a buffer."""
    # Imports torch, which the other readers do without.
    import webdataset

    if not buffer:
        return webdataset.WebDataset(list(tars), shardshuffle=False).decode()
    return webdataset.WebDataset(list(tars), shardshuffle=len(tars), seed=seed).shuffle(buffer, seed=seed).decode()


def first_epoch_speed(uri: str, settings: dict[str, Any]) -> float:
    """The first epoch of a loader, in which the sha256 of every object is checked and all memory is new."""
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=0, **settings)
    return megabytes_per_second(lambda: drained(loader.epoch(0)))


def later_epochs_speed(uri: str, settings: dict[str, Any]) -> float:
    """Epochs after the first ones, one following the other without a pause, as a trainer takes them."""
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=0, **settings)
    batches = iter(loader)
    drained(islice(batches, WARM_EPOCHS * loader.batches_per_epoch))
    return megabytes_per_second(lambda: drained(islice(batches, PASSES * loader.batches_per_epoch)))


def drained(batches: Iterable[Batch]) -> int:
    """Takes every batch and lets it go; the bytes of their states."""
    return sum(values.nbytes for batch in batches for values in batch.states.values())
