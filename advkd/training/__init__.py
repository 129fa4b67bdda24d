"""Training a student from a sealed store: the loop, checkpoints, processes, monitors and alarms."""

from advkd.training.checkpoint import checkpoints, read_record, run_identity, store_digest
from advkd.training.distributed import Processes
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
from advkd.training.observation import OBSERVATIONS, Observation, SubmoduleObservation, observations_from_json
from advkd.training.run_spec import RunSpec

__all__ = [
    "METHODS",
    "OBSERVATIONS",
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
    "checkpoints",
    "observations_from_json",
    "read_record",
    "run_identity",
    "store_digest",
    "train",
    "train_spec_from_json",
]
