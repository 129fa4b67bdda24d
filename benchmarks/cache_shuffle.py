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
from benchmarks.cache_litdata import litdata_order, litdata_speed
from benchmarks.cache_loading import litdata_chunks
from benchmarks.cache_process import call
from benchmarks.cache_readers import later_epochs_speed, tar_samples, tars_speed
from benchmarks.cache_report import Section
from benchmarks.measure import REPEATS, Runs, figures, interleaved, table
from storage import TrajectoryLoader

WINDOWS = (1, 2, 4, 8)
CLASSES = 10
TAR_BUFFER = 1000
_WINDOW = "our loader, window {}"
_LITDATA = "litdata, shuffle=True"
_TARS = f"webdataset, .shuffle({TAR_BUFFER})"
_PERFECT = "perfect shuffle"
_FORMS = {"displacement": ".3f", "sorted": ".2f", "random": ".2f"}


def run(folder: Path, scale: Scale) -> Section:
    """The whole part."""
    uri = filled_store(folder, "zarr", scale.samples)
    tars = object_uris(filled_store(folder, "webdataset", scale.samples), data_only=True)
    chunks = litdata_chunks(folder, scale)
    found = call(qualities, uri, tars, chunks, scale.samples)
    runs = _speeds(uri, tars, chunks)
    speeds = {name: median(figures(runs, name)) for name in runs[0]}
    rows = []
    for name, of in found.items():
        shown = [f"{median(one[figure] for one in of):{form}}" for figure, form in _FORMS.items()]
        speed = f"{speeds[name]:.0f} ({speeds[name] / max(speeds.values()):.2f})" if name in speeds else "-"
        rows.append([name, *shown, speed])
    header = ["order", "displacement / N", "mixing, sorted labels", "mixing, random labels", "MB/s (of fastest)"]
    text = (
        f"{scale.samples} samples in {SHARDS} shards, batches of {BATCH}, one core, Zarr layout for our loader, later "
        "epochs. Displacement is the mean distance between a sample's place in the epoch and its place in the store: "
        f"1/3 for a perfect shuffle. Mixing is the chi-square of a batch's labels ({CLASSES} classes) per degree of "
        "freedom, averaged over all batches: about 1 for a perfect shuffle. Sorted labels are the worst case, because "
        "every shard then holds one or two classes. "
        "litdata shuffles chunks of a shard's size and the samples within each; webdataset takes its tars in random "
        f"order through `.shuffle({TAR_BUFFER})`.\n\n"
        f"{table(header, rows)}\n\n"
        "Samples of a trajectory cache follow from independent noises, so their order in the store is already random "
        "(the column of random labels). The window matters for labelled, sorted stores."
    )
    return Section(title="Shuffle quality", text=text)


def _speeds(uri: str, tars: Sequence[str], chunks: str) -> Runs:
    cases: dict[str, Callable[[], float]] = {
        _WINDOW.format(window): partial(call, later_epochs_speed, uri, {"window": window}, cores=1)
        for window in WINDOWS
    }
    cases[_LITDATA] = partial(call, litdata_speed, chunks, cores=1)
    cases[_TARS] = partial(call, tars_speed, tars, TAR_BUFFER, cores=1)
    return interleaved(cases)


def qualities(uri: str, tars: list[str], chunks: str, samples: int) -> dict[str, list[dict[str, float]]]:
    """The quality of every order, repeat by repeat, each with another seed."""
    orders: dict[str, Callable[[int], Sequence[int]]] = {
        _WINDOW.format(window): partial(_loader_order, uri, window) for window in WINDOWS
    }
    orders[_LITDATA] = partial(litdata_order, chunks)
    orders[_TARS] = partial(_tar_order, tars)
    orders[_PERFECT] = lambda seed: np.random.default_rng(seed).permutation(samples).tolist()
    return {
        name: [quality(np.array(order(seed)), samples, seed) for seed in range(REPEATS)]
        for name, order in orders.items()
    }


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


def _loader_order(uri: str, window: int, seed: int) -> list[int]:
    loader = TrajectoryLoader(uri, batch_size=BATCH, seed=seed, window=window)
    return [int(index) for batch in loader.epoch(1) for index in batch.indices]


def _tar_order(tars: Sequence[str], seed: int) -> list[int]:
    return [sample["json"]["index"] for sample in tar_samples(tars, TAR_BUFFER, seed)]
