"""What `make bench-orchestration` times, each in a process of its own: flows, and the same work as plain calls."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from advkd.device.threads import torch_threads
from advkd.evaluation.evaluation import evaluate
from advkd.export import export_for_devices
from advkd.registry.tracking import register
from advkd.students import StudentSpec
from advkd.teachers import SolverSpec
from advkd.training.loop import STUDENT_FOLDER, train
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.trajectories import PrecomputeSpec
from advkd.trajectories import filling as library
from storage.records.commits import committed_shards
from storage.records.spec import store_uri
from storage.writing.sealing import reseal

TINY: dict[str, Any] = {
    "teacher": "mixture",
    "precompute": {"samples": 256, "shard_samples": 128},
    "train": {"samples": 512, "student": {"width": 16, "blocks": 1}, "rise_samples": 64},
    "samples": 64,
}
"""Parameters of `distill/quick` for a distillation of seconds."""

_LOOK_SECONDS = 0.05


def cheap_spec(root: str, shards: int) -> PrecomputeSpec:
    """Shards of two trajectories of two steps: next to nothing to compute."""
    solver = SolverSpec(steps=2)
    return PrecomputeSpec(
        teacher="mixture",
        store=root,
        samples=2 * shards,
        solver=solver,
        captures=2,
        shard_samples=2,
        block_samples=2,
    )


def real_spec(root: str, shards: int) -> PrecomputeSpec:
    """The embedded digits teacher with the 20 steps of the preset `quick`, in shards of 16 trajectories."""
    return PrecomputeSpec(
        store=root, samples=16 * shards, solver=SolverSpec(steps=20), captures=4, shard_samples=16, block_samples=16
    )


def distill_plainly(root: str) -> dict[str, float]:
    """Seconds of the stages of `distill`, called as functions of the library: all of them, and the export alone."""
    from flows.recipe.planning import recipe
    from flows.warm import import_later

    # A process that has already imported everything, as that is from which a worker's runs are forked.
    import_later()
    began = time.perf_counter()
    asked = {**TINY, "precompute": PrecomputeSpec(**TINY["precompute"]), "train": _train_spec()}
    plan = recipe(preset="quick", root=root, **asked)
    store = library.precompute(plan.precompute, workers=os.cpu_count() or 1)
    places = plan.places(store)
    student = Path(places.student)
    for _ in train(plan.train, store.uri, student):
        pass
    folder = str(student / STUDENT_FOLDER)
    evaluate(plan.evaluation(places, folder))
    exporting = time.perf_counter()
    onnx = export_for_devices(plan.exporting(places, folder))
    exporting = time.perf_counter() - exporting
    register(plan.registration(places, store.uri, folder, onnx.uri))
    return {"calls": time.perf_counter() - began, "exporting": exporting}


def _train_spec() -> TrainSpec:
    asked = TINY["train"]
    return TrainSpec(**{**asked, "student": StudentSpec(**asked["student"])})


def shards_by_calls(root: str, shards: int) -> float:
    """Seconds of `advkd.trajectories.precompute`."""
    spec = _warm(root, shards)
    began = time.perf_counter()
    library.precompute(spec, workers=os.cpu_count() or 1)
    return time.perf_counter() - began


def shards_by_claims(root: str, shards: int) -> float:
    """The same, each shard claimed before and given back after, as the flow's tasks do."""
    spec = _warm(root, shards)
    began = time.perf_counter()
    # As many threads as `ComputeSlots` asks for.
    with torch_threads(1), ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        list(pool.map(partial(library.share_shard, spec), range(shards)))
    library.seal_store(spec)
    return time.perf_counter() - began


def shards_by_flow(root: str, shards: int) -> dict[str, Any]:
    """The flow `precompute`: its seconds, and this process's memory at so many committed shards."""
    from flows.precompute import precompute

    spec = _warm(root, shards)
    identity, _ = library.what_is_missing(spec)
    uri = store_uri(spec.store, identity)
    with _watched(uri) as seen:
        began = time.perf_counter()
        precompute(spec)
        seconds = time.perf_counter() - began
    sealing = time.perf_counter()
    reseal(uri, identity, spec.samples)
    sealing = time.perf_counter() - sealing
    return {"seconds": seconds, "memory": seen, "sealing": sealing, "failed": shards - len(committed_shards(uri))}


@contextmanager
def _watched(uri: str) -> Iterator[list[tuple[int, float]]]:
    """Pairs of committed shards and MB that are resident, a few times per second, until the block ends."""
    seen: list[tuple[int, float]] = []
    ended = threading.Event()

    def look() -> None:
        folder = Path(uri) / "commits"
        while not ended.wait(_LOOK_SECONDS * 5):
            # Counted by the folder's entries: what is resident is to be the flow's, not the looking's.
            seen.append((sum(1 for _ in os.scandir(folder)) if folder.is_dir() else 0, resident_megabytes()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def resident_megabytes(pid: int | None = None) -> float:
    """Memory of a process that is resident now; of this one without a number."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def _warm(root: str, shards: int) -> PrecomputeSpec:
    """The spec, after a store of one shard elsewhere has loaded everything that is loaded once."""
    library.precompute(cheap_spec(f"{root}-warm", 1))
    return cheap_spec(root, shards)


def share(root: str, shards: int, ready: str, go: str) -> dict[str, float]:
    """Computes what nobody else is at work on, from the moment that the file `go` is there."""
    spec = real_spec(root, shards)
    with torch_threads(1):
        library.Filling.of(replace(spec, store=ready + "-warm")).compute(0)
        Path(ready).touch()
        while not Path(go).exists():
            time.sleep(_LOOK_SECONDS / 5)
        began, worked = time.perf_counter(), time.process_time()
        made = sum(library.share_shard(spec, index) is not None for index in range(shards))
    return {
        "seconds": time.perf_counter() - began,
        "worked": time.process_time() - worked,
        "made": made,
    }


def write_shards(root: str, first: int, last: int, claimed: bool) -> None:
    """Computes shards, claimed or not."""
    spec = cheap_spec(root, last)
    for index in range(first, last):
        if claimed:
            library.share_shard(spec, index)
        else:
            library.Filling.of(spec).compute(index)


def seal_shards(root: str, shards: int) -> None:
    """Seals a store of so many shards."""
    library.seal_store(cheap_spec(root, shards))
