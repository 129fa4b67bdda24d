"""Features of images: extractors in one table, each with its name, its weights' sha256 and how it treats images."""

from advkd.features.base import Asked, Extractor, InputRule, Reader, ReadingExtractor, StateExtractor, TextExtractor
from advkd.features.choice import AUTO, FEATURES, NONE, check_features, chosen_features, state_features
from advkd.features.digit_classifier import ClassifierSpec, DigitClassifier, load_classifier, train_classifier
from advkd.features.digits import DIGITS, digits_extractor, shows_digits
from advkd.features.errors import FeatureError
from advkd.features.extractor import BATCH, FeatureExtractor
from advkd.features.teacher import TEACHER, TeacherExtractor

__all__ = [
    "AUTO",
    "BATCH",
    "DIGITS",
    "FEATURES",
    "NONE",
    "TEACHER",
    "Asked",
    "ClassifierSpec",
    "DigitClassifier",
    "Extractor",
    "FeatureError",
    "FeatureExtractor",
    "InputRule",
    "Reader",
    "ReadingExtractor",
    "StateExtractor",
    "TeacherExtractor",
    "TextExtractor",
    "check_features",
    "chosen_features",
    "digits_extractor",
    "load_classifier",
    "shows_digits",
    "state_features",
    "train_classifier",
]
