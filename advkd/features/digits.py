"""The extractor `digits`, and who shows digits: teachers are known by their fingerprints, never by their shape."""

import hashlib
from functools import cache

from advkd.features.base import Asked, InputRule, Reader
from advkd.features.digit_classifier import FEATURES, WEIGHTS, load_classifier
from advkd.features.errors import FeatureError
from advkd.features.extractor import FeatureExtractor
from advkd.teachers import DIGITS_CLASSES_FOLDER, DIGITS_FOLDER, Teacher, folder_fingerprint, load_teacher

DIGITS = "digits"
SHAPE = (1, 16, 16)


@cache
def digits_extractor() -> FeatureExtractor:
    """Returns the extractor of the penultimate layer of the embedded digit classifier."""
    classifier = load_classifier()
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    reader = Reader(tuple(map(str, range(10))), classifier.logits)
    rule = InputRule(channels=1, size=16)
    return FeatureExtractor(DIGITS, sha256, FEATURES, classifier.features, SHAPE, reader, rule)


def asked_for_digits(asked: Asked) -> FeatureExtractor:
    """Returns the row of digits; raises `FeatureError` if weights are named."""
    if asked.weights is not None:
        raise FeatureError(f"the extractor {DIGITS!r} ships with its weights, got {asked.weights!r}; leave them out")
    return digits_extractor()


def shows_digits(teacher: Teacher) -> bool:
    """Returns whether a teacher, guidance aside, is an embedded one, whose images are digits."""
    fingerprint = getattr(teacher, "unguided", "") or teacher.fingerprint
    return tuple(teacher.space.image_shape) == SHAPE and fingerprint in _fingerprints_of_digits()


@cache
def _fingerprints_of_digits() -> frozenset[str]:
    folders = (folder_fingerprint(folder) for folder in (DIGITS_FOLDER, DIGITS_CLASSES_FOLDER))
    return frozenset((*folders, load_teacher("mixture").fingerprint))
