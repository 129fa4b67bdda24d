"""Evaluates students: figures with their protocols, and reports."""

from advkd.evaluation.classifier import ClassifierSpec, DigitClassifier, load_classifier, train_classifier
from advkd.evaluation.cost import device_name
from advkd.evaluation.distances import Worth
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import METRICS, REPORT, evaluate
from advkd.evaluation.features import FEATURES, Extractor, FeatureExtractor
from advkd.evaluation.pair import check_targets
from advkd.evaluation.pictures import grid_png
from advkd.evaluation.reference import ship_reference
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores
from advkd.evaluation.spec import EvaluateSpec, TeacherPasses, protocols

__all__ = [
    "FEATURES",
    "METRICS",
    "REPORT",
    "ClassifierSpec",
    "DigitClassifier",
    "Distances",
    "EvalReport",
    "EvaluateSpec",
    "EvaluationError",
    "Extractor",
    "FeatureExtractor",
    "Metric",
    "Scores",
    "TeacherPasses",
    "Worth",
    "check_targets",
    "device_name",
    "evaluate",
    "grid_png",
    "load_classifier",
    "protocols",
    "ship_reference",
    "train_classifier",
    "worth_sentence",
]
