"""How good a student is, by which protocol, and the report that shows it."""

from advkd.evaluation.classifier import ClassifierSpec, DigitClassifier, load_classifier, train_classifier
from advkd.evaluation.cost import device_name
from advkd.evaluation.distances import Worth
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import METRICS, REPORT, EvaluateSpec, TeacherPasses, evaluate
from advkd.evaluation.features import features_for
from advkd.evaluation.pictures import grid_png
from advkd.evaluation.reference import ship_reference
from advkd.evaluation.results import EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores

__all__ = [
    "METRICS",
    "REPORT",
    "ClassifierSpec",
    "DigitClassifier",
    "EvalReport",
    "EvaluateSpec",
    "EvaluationError",
    "Metric",
    "Scores",
    "TeacherPasses",
    "Worth",
    "device_name",
    "evaluate",
    "features_for",
    "grid_png",
    "load_classifier",
    "ship_reference",
    "train_classifier",
    "worth_sentence",
]
