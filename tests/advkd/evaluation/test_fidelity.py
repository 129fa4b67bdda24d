import torch

from advkd.diffusion import UNCONDITIONAL, Labels
from advkd.evaluation.fidelity import images_read, label_fidelity
from advkd.features import FeatureExtractor, Reader, digits_extractor
from advkd.teachers.digits import digit_images, digit_labels

LETTERS = FeatureExtractor("letters", "0" * 64, 3, lambda images: images, None, Reader(("a", "b", "c"), lambda x: x))
FEATURES_OF = torch.eye(3)


def names(*given: str) -> Labels:
    return Labels({"kind": "labels", "names": list(given), "distribution": "uniform"})


def test_an_image_is_read_as_the_class_of_its_name_and_not_of_its_number() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    assert images_read(LETTERS, FEATURES_OF, names("a", "b", "c"), labels).tolist() == [True, True, True]
    assert images_read(LETTERS, FEATURES_OF, names("c", "b", "a"), labels).tolist() == [False, True, False]


def test_shuffled_labels_are_noticed() -> None:
    extractor, conditions = digits_extractor(), names(*map(str, range(10)))
    features, labels = extractor(digit_images()), digit_labels()
    right = images_read(extractor, features, conditions, labels).double().mean()
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    wrong = images_read(extractor, features, conditions, shuffled).double().mean()
    assert right > 0.97
    assert wrong < 0.2


def test_nothing_is_read_without_classes_a_reader_or_the_same_names() -> None:
    labels = torch.tensor([0, 1, 2])
    silent = FeatureExtractor("silent", "0" * 64, 3, lambda images: images)
    assert not len(images_read(LETTERS, FEATURES_OF, UNCONDITIONAL, None))
    assert not len(images_read(silent, FEATURES_OF, names("a", "b", "c"), labels))
    assert not len(images_read(LETTERS, FEATURES_OF, names("a", "b", "x"), labels))
    assert label_fidelity(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.bool)) is None


def test_shares_are_those_of_student_and_teacher() -> None:
    read = label_fidelity(torch.tensor([True, False, True, True]), torch.tensor([True] * 4))
    assert read is not None
    assert (read.student, read.teacher, read.samples) == (0.75, 1.0, 4)
