"""Part "shuffle": how well each reader shuffles, beside its speed.

Two figures of one epoch. Mean displacement: |position - storage index| / N, 1/3 for a perfect shuffle. Mixing: the
chi-square statistic of the class labels in a batch against those of the whole set, over its degrees of freedom, mean
of all batches: about 1 for a perfect shuffle, large where a batch holds few classes. Ten classes, once sorted in
storage order (the worst case), once random.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.cache_data import BATCH, SHARDS, Scale, filled_store, object_uris
from benchmarks.cache_litdata import LitdataEpochs
from benchmarks.cache_loading import litdata_chunks
from benchmarks.cache_process import call
from benchmarks.cache_readers import LoaderEpochs, epochs_of, states_read, tar_samples
from benchmarks.cache_report import Section
from benchmarks.measure import REPEATS, interleaved, megabytes_per_second, table
from storage import TrajectoryLoader

WINDOWS = (1, 2, 4, 8)
CLASSES = 10
TAR_BUFFER = 1000
_SPEED = "MB/s"


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    uris = {layout: filled_store(folder, layout, scale.samples) for layout in ("zarr", "webdataset")}
    found = call(measure, uris, litdata_chunks(folder, scale), scale.samples, cores=1)
    names = list(found[0])
    figures = {name: {key: median(one[name][key] for one in found) for key in found[0][name]} for name in names}
    fastest = max(figures[name].get(_SPEED, 0.0) for name in names)
    rows = [
        [
            name,
            f"{of['displacement']:.3f}",
            f"{of['sorted']:.2f}",
            f"{of['random']:.2f}",
            f"{of[_SPEED]:.0f} ({of[_SPEED] / fastest:.2f})" if _SPEED in of else "-",
        ]
        for name, of in figures.items()
    ]
    header = ["order", "displacement / N", "mixing, sorted labels", "mixing, random labels", "MB/s (of fastest)"]
    text = (
        f"{scale.samples} samples in {SHARDS} shards, batches of {BATCH}, one core, Zarr layout for our loader, later "
        "epochs. Displacement is the mean distance between a sample's place in the epoch and in the store: 1/3 for a "
        f"perfect shuffle. Mixing is the chi-square of a batch's labels ({CLASSES} classes) per degree of freedom, "
        "mean of all batches: about 1 for a perfect shuffle. Sorted labels are the worst case: every shard then holds "
        "one or two classes. "
        "litdata shuffles chunks of a shard's size and the samples within each; webdataset takes its tars in random "
        f"order through `.shuffle({TAR_BUFFER})`.\n\n"
        f"{table(header, rows)}\n\n"
        "Samples of a trajectory cache follow from independent noises, so their order in the store is random already "
        "(the column of random labels): a window matters for labelled, sorted stores."
    )
    return Section(title="Shuffle quality", text=text)


def measure(uris: dict[str, str], chunks: str, samples: int) -> list[dict[str, dict[str, float]]]:
    """Per repeat, the figures of every order."""
    tars = object_uris(uris["webdataset"], data_only=True)
    litdata = LitdataEpochs(chunks)
    orders: dict[str, Callable[[int], Sequence[int]]] = {}
    speeds: dict[str, Callable[[], float]] = {}
    for window in WINDOWS:
        name = f"our loader, window {window}"
        epochs = epochs_of(uris["zarr"], window=window)
        orders[name] = partial(_loader_order, uris["zarr"], window)
        speeds[name] = partial(_later, epochs)
    orders["litdata, shuffle=True"] = lambda _: litdata.order()
    speeds["litdata, shuffle=True"] = lambda: megabytes_per_second(litdata.read)
    shuffled = f"webdataset, .shuffle({TAR_BUFFER})"
    orders[shuffled] = partial(_tar_order, tars)
    speeds[shuffled] = lambda: megabytes_per_second(lambda: states_read(tar_samples(tars, TAR_BUFFER)))
    orders["perfect shuffle"] = lambda repeat: np.random.default_rng(repeat).permutation(samples).tolist()
    found: list[dict[str, dict[str, float]]] = []
    for repeat, speed in enumerate(interleaved(speeds, REPEATS)):
        found.append({name: quality(np.array(order(repeat)), samples, repeat) for name, order in orders.items()})
        for name, value in speed.items():
            found[-1][name][_SPEED] = value
    return found


def quality(order: npt.NDArray[np.int64], samples: int, seed: int) -> dict[str, float]:
    """Displacement and mixing of one epoch's order `[n]` of the numbers below `samples`."""
    moved = np.abs(np.arange(len(order)) - order).mean() / samples
    in_order = np.arange(samples) * CLASSES // samples
    at_random = np.random.default_rng(seed).integers(0, CLASSES, samples)
    return {"displacement": float(moved), "sorted": mixing(in_order[order]), "random": mixing(at_random[order])}


def mixing(labels: npt.NDArray[np.int64]) -> float:
    """Mean over whole batches of chi-square per degree of freedom, labels `[n]` in the order of the epoch."""
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    batches = labels[: len(labels) // BATCH * BATCH].reshape(-1, BATCH)
    expected = BATCH * shares
    counts = np.stack([np.bincount(batch, minlength=CLASSES) for batch in batches])
    return float((((counts - expected) ** 2 / expected).sum(axis=1) / (CLASSES - 1)).mean())


def _later(epochs: LoaderEpochs) -> float:
    epochs.first()
    return epochs.later()


def _loader_order(uri: str, window: int, repeat: int) -> list[int]:
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=repeat, window=window)
    return [int(index) for batch in loader.epoch(1) for index in batch.indices]


def _tar_order(tars: Sequence[str], repeat: int) -> list[int]:
    return [sample["json"]["index"] for sample in tar_samples(tars, TAR_BUFFER, repeat)]
