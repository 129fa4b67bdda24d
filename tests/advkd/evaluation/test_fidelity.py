"""Label fidelity: by an extractor's reader of the classes' names, or by a classifier fitted to the teacher's images."""

import pytest
import torch

from advkd.diffusion import UNCONDITIONAL, Labels
from advkd.evaluation.fidelity import LabelFidelity, Readings, best_reading, images_read, readings
from advkd.evaluation.fitted_classifier import MIN_OF_CLASS
from advkd.features import FeatureExtractor, Reader, digits_extractor
from advkd.teachers.digits import digit_images, digit_labels

LETTERS = FeatureExtractor("letters", "0" * 64, 3, lambda images: images, None, Reader(("a", "b", "c"), lambda x: x))
SILENT = FeatureExtractor("silent", "0" * 64, 3, lambda images: images)
FEATURES_OF = torch.eye(3)


def names(*given: str) -> Labels:
    return Labels({"kind": "labels", "names": list(given), "distribution": "uniform"})


ABC = names("a", "b", "c")


def test_an_image_is_read_as_the_class_of_its_name_and_not_of_its_number() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    assert images_read(LETTERS, FEATURES_OF, ABC, labels).tolist() == [True, True, True]
    assert images_read(LETTERS, FEATURES_OF, names("c", "b", "a"), labels).tolist() == [False, True, False]


def test_shuffled_labels_are_noticed() -> None:
    extractor, conditions = digits_extractor(), names(*map(str, range(10)))
    features, labels = extractor(digit_images()), digit_labels()
    right = images_read(extractor, features, conditions, labels).double().mean()
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    wrong = images_read(extractor, features, conditions, shuffled).double().mean()
    assert right > 0.97
    assert wrong < 0.2


def test_nothing_is_read_without_classes_or_a_reader_of_few_images() -> None:
    labels = torch.tensor([0, 1, 2])
    assert readings(LETTERS, FEATURES_OF, FEATURES_OF, UNCONDITIONAL, None) is None
    for extractor, conditions in ((SILENT, ABC), (LETTERS, names("a", "b", "x"))):
        assert not len(images_read(extractor, FEATURES_OF, conditions, labels))
        assert readings(extractor, FEATURES_OF, FEATURES_OF, conditions, labels) is None
    only = torch.zeros(2 * MIN_OF_CLASS, dtype=torch.int64)
    assert readings(SILENT, torch.rand(len(only), 3), torch.rand(len(only), 3), ABC, only) is None


def test_a_class_without_company_is_not_read() -> None:
    """One image of the second class: the half without it would know a single class."""
    labels = torch.zeros(101, dtype=torch.int64)
    labels[7] = 1
    assert readings(SILENT, torch.rand(101, 3), torch.rand(101, 3), ABC, labels) is None


def test_classes_stand_beside_the_extractor_s_own_reading() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    fitted, own = (Readings(nothing, nothing, fitted) for fitted in (True, False))
    assert best_reading([None, fitted, own]) is own
    assert best_reading([fitted, None]) is fitted
    assert best_reading([None]) is None


def test_a_reader_of_the_classes_goes_first() -> None:
    labels = torch.arange(3).repeat(MIN_OF_CLASS)
    read = readings(LETTERS, FEATURES_OF[labels], FEATURES_OF[(labels + 1) % 3], ABC, labels)
    assert read is not None
    assert read.shares() == LabelFidelity(student=1.0, teacher=0.0, samples=len(labels), fitted=False)


def test_shares_are_those_of_student_and_teacher() -> None:
    read = Readings(torch.tensor([True, False, True, True]), torch.tensor([True] * 4), fitted=False)
    assert read.shares() == LabelFidelity(student=0.75, teacher=1.0, samples=4, fitted=False)
    chosen = torch.tensor([True, True, False, False])
    assert read.shares(chosen) == LabelFidelity(student=0.5, teacher=1.0, samples=2, fitted=False)
    assert read.shares(torch.zeros(4, dtype=torch.bool)) is None


def drawn(labels: torch.Tensor, seed: int, apart: float = 1.0, dims: int = 8) -> torch.Tensor:
    """Features of unit variance whose classes 0, 1 and 2 have their means at -2, 0 and 2 times `apart`."""
    features = torch.randn(len(labels), dims, generator=torch.Generator().manual_seed(seed))
    features[:, 0] += 2 * apart * (labels - 1)
    return features


def test_a_fitted_classifier_reads_as_well_as_one_that_knows_the_distributions() -> None:
    labels = torch.randint(3, (6000,), generator=torch.Generator().manual_seed(0))
    read = readings(SILENT, drawn(labels, 1), drawn(labels, 2), ABC, labels)
    assert read is not None
    # Borders at -1 and 1: an outer class is read rightly at Phi(1), the inner one at 2 Phi(1) - 1.
    best = (2 * 0.8413 + 0.6827) / 3
    assert (read.fitted, read.shares().samples) == (True, 6000)
    assert read.shares().student == pytest.approx(best, abs=0.02)
    assert read.shares().teacher == pytest.approx(best, abs=0.02)


def test_it_notices_blurred_classes_shuffled_labels_and_a_class_that_is_another() -> None:
    labels = torch.randint(3, (6000,), generator=torch.Generator().manual_seed(0))
    teacher = drawn(labels, 2)

    def student(features: torch.Tensor) -> float:
        read = readings(SILENT, features, teacher, ABC, labels)
        assert read is not None
        return read.shares().student

    assert student(drawn(labels, 1, apart=0.5)) < 0.65
    assert student(drawn(labels, 1)[torch.randperm(6000, generator=torch.Generator().manual_seed(3))]) < 0.4
    assert student(drawn(torch.where(labels == 2, 0, labels), 1)) < 0.6


def test_classes_in_turns_are_in_both_halves() -> None:
    labels = torch.arange(4).repeat(2 * MIN_OF_CLASS)
    features = torch.eye(4)[labels] + 0.1 * drawn(labels, 1, apart=0.0, dims=4)
    read = readings(SILENT, features, features, names("a", "b", "c", "d"), labels)
    assert read is not None
    assert read.shares().teacher > 0.9


def test_no_image_is_read_by_a_classifier_that_has_seen_it() -> None:
    """Of features that say nothing of the class, but are more than the images, a classifier knows those it has seen."""
    labels = torch.randint(3, (300,), generator=torch.Generator().manual_seed(0))
    features = drawn(labels, 1, apart=0.0, dims=400)
    read = readings(SILENT, features, features, ABC, labels)
    assert read is not None
    assert read.shares().teacher == pytest.approx(1 / 3, abs=0.1)


def test_features_that_are_all_alike_are_read_as_one_class() -> None:
    labels = torch.arange(3).repeat(MIN_OF_CLASS)
    alike = torch.ones(len(labels), 8)
    read = readings(SILENT, alike, alike, ABC, labels)
    assert read is not None
    assert read.shares().teacher == pytest.approx(1 / 3, abs=0.1)
