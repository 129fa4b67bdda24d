"""Readers that are compared: numpy, zarr and webdataset as they come, and our loader's epochs."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import zarr

from benchmarks.cache_data import BATCH, TIMESTEPS
from benchmarks.measure import megabytes_per_second
from storage import Batch, TrajectoryLoader

LATER_EPOCHS = 4


def read_arrays(files: Sequence[str]) -> int:
    """Every `.npy` file whole, all of them in memory in the end; the bytes read."""
    return sum(array.nbytes for array in [np.load(file) for file in files])


def read_zarr_blocks(uri: str, rows: int) -> int:
    """Every array of a store through plain zarr, so many samples at a time; the bytes read."""
    group, count = zarr.open_group(uri, mode="r"), 0
    for t in TIMESTEPS:
        array = group[f"shards/t{t:04d}"]
        for start in range(0, array.shape[0], rows):
            count += array[start : start + rows].nbytes
    return count


def tar_samples(tars: Sequence[str], buffer: int = 0, seed: int = 0) -> Iterable[dict[str, Any]]:
    """A store's samples through plain webdataset, in order, or shuffled: tars at random, then in a buffer."""
    # Imports torch, which the other readers do without.
    import webdataset

    if not buffer:
        return webdataset.WebDataset(list(tars), shardshuffle=False).decode()
    return webdataset.WebDataset(list(tars), shardshuffle=len(tars), seed=seed).shuffle(buffer, seed=seed).decode()


def states_read(samples: Iterable[dict[str, Any]]) -> int:
    """Takes every sample of webdataset; the bytes of their states."""
    return sum(value.nbytes for sample in samples for name, value in sample.items() if name.endswith(".npy"))


def drained(batches: Iterable[Batch]) -> int:
    """Takes every batch and lets it go; the bytes of their states."""
    return sum(values.nbytes for batch in batches for values in batch.states.values())


class LoaderEpochs:
    """Speeds of one loader after another: each one's first epoch, then later ones as a trainer takes them."""

    def __init__(self, open_loader: Callable[[], TrajectoryLoader]) -> None:
        self._open = open_loader
        self._loader: TrajectoryLoader | None = None

    def first(self) -> float:
        """MB/s of a new loader's first epoch, in which the sha256 of every object is checked."""
        self._loader = loader = self._open()
        return megabytes_per_second(lambda: drained(loader.epoch(0)))

    def later(self) -> float:
        """MB/s of epochs after the first, one following the other without a pause."""
        assert self._loader is not None
        per_epoch, batches = self._loader.batches_per_epoch, iter(self._loader)
        try:
            drained(islice(batches, per_epoch))
            return megabytes_per_second(lambda: drained(islice(batches, LATER_EPOCHS * per_epoch)))
        finally:
            batches.close()


def epochs_of(uri: str, **settings: Any) -> LoaderEpochs:
    """Epochs of loaders of a store, batches of 64, all timesteps."""
    return LoaderEpochs(lambda: TrajectoryLoader(uri, batch_size=BATCH, seed=0, **settings))
