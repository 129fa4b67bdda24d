"""Counts what the stages of a distillation did, from their results."""

from dataclasses import replace

from advkd.export import Export
from advkd.registry import RegisteredModel
from advkd.runtime import StageCounters
from advkd.trajectories import StoreResult
from flows.recipe import Places
from flows.tasks import Evaluation
from flows.train import StudentResult
from storage import open_store
from storage.objects import list_objects


def count(
    places: Places,
    store: StoreResult,
    student: StudentResult,
    evaluation: Evaluation,
    onnx: Export,
    model: RegisteredModel,
    seconds: dict[str, float],
) -> dict[str, StageCounters]:
    """Returns the counters by stage, in the order of the stages."""
    counted = {
        "precompute": StageCounters(
            passes=store.passes, samples=store.computed_samples, bytes_written=store.bytes_written
        ),
        "train": StageCounters(
            samples=student.samples,
            bytes_read=_stored_bytes(store, student.samples),
            bytes_written=_bytes(student.folder) if student.trained else 0,
        ),
        "evaluate": StageCounters(),
        "export": StageCounters(),
        "register": StageCounters(),
    }
    if evaluation.evaluated:
        counted["evaluate"] = StageCounters(
            passes=evaluation.passes,
            samples=evaluation.report.samples,
            bytes_read=_bytes(student.folder),
            bytes_written=_bytes(places.report),
        )
    if onnx.exported:
        counted["export"] = StageCounters(bytes_read=_bytes(student.folder), bytes_written=_bytes(onnx.uri))
    if model.created:
        read = sum(_bytes(place) for place in (student.folder, places.report, *([onnx.uri] if onnx.uri else [])))
        counted["register"] = StageCounters(bytes_read=read, bytes_written=_bytes(places.artifact))
    return {stage: replace(counters, seconds=seconds[stage]) for stage, counters in counted.items()}


def _stored_bytes(store: StoreResult, samples: int) -> int:
    """Returns the stored bytes of `samples` trajectories; all trajectories of a store have the same size."""
    if not samples:
        return 0
    manifest = open_store(store.uri).manifest
    return round(samples * manifest.total_bytes / (manifest.num_shards * manifest.spec.shard_samples))


def _bytes(folder: str) -> int:
    return sum(entry.size for entry in list_objects(folder))
