"""Registers versions in MLflow, and decides which one is `champion`."""

from advkd.registry.counter_metrics import log_counters
from advkd.registry.fetching import student_folder, student_place
from advkd.registry.listing import broken_champions, details, difference, models, overview
from advkd.registry.promotion import promote, roll_back
from advkd.registry.publishing import Upload, publish_version
from advkd.registry.tracking import RegisteredModel, RegisterSpec, register
from advkd.registry.versions import DATABASE, answering, existing_registry, quiet, require_registry

__all__ = [
    "DATABASE",
    "RegisterSpec",
    "RegisteredModel",
    "Upload",
    "answering",
    "broken_champions",
    "details",
    "difference",
    "existing_registry",
    "log_counters",
    "models",
    "overview",
    "promote",
    "publish_version",
    "quiet",
    "register",
    "require_registry",
    "roll_back",
    "student_folder",
    "student_place",
]
