"""Counts what the stages of a distillation did, from their results: the only place that does."""

from dataclasses import replace

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
    model: RegisteredModel,
    seconds: dict[str, float],
) -> dict[str, StageCounters]:
    """Counters by stage, in the order of the stages."""
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
        "register": StageCounters(),
    }
    if evaluation.evaluated:
        counted["evaluate"] = StageCounters(
            passes=evaluation.passes,
            samples=evaluation.report.samples,
            bytes_read=_bytes(student.folder),
            bytes_written=_bytes(places.report),
        )
    if model.created:
        counted["register"] = StageCounters(
            bytes_read=_bytes(student.folder) + _bytes(places.report), bytes_written=_bytes(places.artifact)
        )
    return {stage: replace(counters, seconds=seconds[stage]) for stage, counters in counted.items()}


def _stored_bytes(store: StoreResult, samples: int) -> int:
    """Of so many trajectories: every one of a store takes the same, up to compression."""
    if not samples:
        return 0
    manifest = open_store(store.uri).manifest
    return round(samples * manifest.total_bytes / (manifest.num_shards * manifest.spec.shard_samples))


def _bytes(folder: str) -> int:
    return sum(entry.size for entry in list_objects(folder))
