"""Evaluates students: figures with their protocols, and reports."""

from advkd.evaluation.cost import device_name
from advkd.evaluation.distances import Worth
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import METRICS, REPORT, evaluate
from advkd.evaluation.pair import check_targets
from advkd.evaluation.pictures import grid_png
from advkd.evaluation.reference import ship_reference
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores
from advkd.evaluation.spec import EvaluateSpec, TeacherPasses, protocols

__all__ = [
    "METRICS",
    "REPORT",
    "Distances",
    "EvalReport",
    "EvaluateSpec",
    "EvaluationError",
    "Metric",
    "Scores",
    "TeacherPasses",
    "Worth",
    "check_targets",
    "device_name",
    "evaluate",
    "grid_png",
    "protocols",
    "ship_reference",
    "worth_sentence",
]
