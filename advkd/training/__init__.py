"""Trains a student from a sealed store: the loop, checkpoints, processes, monitors and alarms."""

from advkd.training.checkpoint import newest_record, record_beside, run_identity
from advkd.training.distributed import Processes
from advkd.training.example import example_batch, example_condition
from advkd.training.loop import STUDENT_FOLDER, train
from advkd.training.methods import (
    METHODS,
    MethodRow,
    PaperSpec,
    TrainSpec,
    any_spec,
    build_method,
    train_spec_from_json,
)
from advkd.training.observation import Observation, SubmoduleObservation, observations_from_json
from advkd.training.run_spec import RunSpec

__all__ = [
    "METHODS",
    "STUDENT_FOLDER",
    "MethodRow",
    "Observation",
    "PaperSpec",
    "Processes",
    "RunSpec",
    "SubmoduleObservation",
    "TrainSpec",
    "any_spec",
    "build_method",
    "example_batch",
    "example_condition",
    "newest_record",
    "observations_from_json",
    "record_beside",
    "run_identity",
    "train",
    "train_spec_from_json",
]
