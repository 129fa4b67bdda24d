"""That figures are of the sets that they name, whichever way round, and of the prompts that images were asked for."""

import pytest
import torch

from advkd.diffusion import UNCONDITIONAL, Prompts
from advkd.distances import FeatureSet, collected
from advkd.evaluation.curve import curve_of
from advkd.evaluation.measured import measured_distances
from advkd.evaluation.prompt_score import prompt_score
from advkd.evaluation.real import RealFeatures
from advkd.evaluation.reference import Reference, TeacherPoint
from advkd.evaluation.scores import Metric, score
from advkd.features import FeatureExtractor
from tests.advkd.evaluation.parts import gaussian_teacher
from tests.advkd.networks.test_embeddings import FACTS, TEXTS, table

EXTRACTOR = FeatureExtractor("any", "f" * 64, 4, lambda images: images)


def cloud(name: str, count: int, scale: float) -> FeatureSet:
    generator = torch.Generator().manual_seed(int(10 * scale))
    return collected(name, scale * torch.randn(count, 4, generator=generator))


NARROW, WIDE, WIDER = cloud("student", 200, 0.3), cloud("target", 200, 1.0), cloud("real cats", 240, 3.0)


def value(metric: Metric | None) -> float:
    assert metric is not None
    return metric.value


def test_what_is_evaluated_and_what_it_is_compared_with_are_not_swapped() -> None:
    """A student that lies within its target is precise, and recalls little."""
    scores = score(NARROW, WIDE, EXTRACTOR)
    assert value(scores.precision) > 0.95 > 0.5 > value(scores.recall)
    assert {(metric.n_fake, metric.n_ref, metric.reference) for metric in scores.metrics()} == {(200, 200, "target")}
    back = score(WIDE, NARROW, EXTRACTOR)
    assert value(back.recall) > 0.95 > 0.5 > value(back.precision)
    assert (value(back.fd), value(back.precision)) == (
        pytest.approx(value(scores.fd), rel=1e-9),
        value(scores.recall),
    )


def test_every_distance_is_of_the_sets_that_it_names() -> None:
    teacher = gaussian_teacher()
    curve = curve_of(teacher)
    point = TeacherPoint(solver="ddim", passes=1, to_target=score(NARROW, WIDE, EXTRACTOR))
    reference = Reference(
        digest="d", curve=curve, points=(point,), target=WIDE, target_error=0.0, pictures=torch.zeros(1, 1, 16, 16)
    )
    real = RealFeatures(features=WIDER, sha256="a" * 64, images=None)
    distances = measured_distances(EXTRACTOR, reference, teacher, NARROW, None, real)
    assert distances.to_real is not None
    assert distances.teacher_to_real is not None
    compared = (
        (distances.to_teacher, NARROW, WIDE),
        (distances.to_real, NARROW, WIDER),
        (distances.teacher_to_real, WIDE, WIDER),
    )
    for scores, fake, other in compared:
        expected = score(fake, other, EXTRACTOR)
        assert (scores.fd.n_fake, scores.fd.n_ref, scores.fd.reference) == (fake.count, other.count, other.name)
        for metric, right in zip(scores.metrics(), expected.metrics(), strict=True):
            assert (metric.name, metric.value) == (right.name, right.value)
        assert value(scores.precision) > value(scores.recall)


class Reads:
    """Features of text that are the axes, in the order of the list."""

    def text_features(self, prompts: list[str]) -> torch.Tensor:
        return torch.eye(len(TEXTS))[[TEXTS.index(prompt) for prompt in prompts]]


def test_the_score_of_prompts_is_the_mean_cosine_and_never_below_zero() -> None:
    conditions = Prompts(FACTS, lambda: table(1.0))
    numbers = torch.tensor([1, 0, 1])
    axes = torch.eye(len(TEXTS))
    student = torch.stack([axes[1] * 5, axes[0] + axes[1], -axes[1]])
    made = prompt_score(Reads(), conditions, numbers, student, axes[numbers])
    assert made is not None
    assert made.samples == 3
    assert made.teacher == pytest.approx(100.0)
    assert made.student == pytest.approx(100 * (1 + 2**-0.5 + 0) / 3)


def test_images_of_shuffled_prompts_have_a_lower_score() -> None:
    conditions = Prompts(FACTS, lambda: table(1.0))
    numbers = torch.tensor([0, 1, 0, 1])
    images = torch.eye(len(TEXTS))[numbers]
    shuffled = prompt_score(Reads(), conditions, numbers.roll(1), images, images)
    assert shuffled is not None
    assert shuffled.student == shuffled.teacher == 0.0


def test_without_prompts_or_features_of_text_there_is_no_score() -> None:
    conditions, features = Prompts(FACTS, lambda: table(1.0)), torch.eye(2)
    numbers = torch.tensor([0, 1])
    assert prompt_score(EXTRACTOR, conditions, numbers, features, features) is None
    assert prompt_score(Reads(), UNCONDITIONAL, numbers, features, features) is None
    assert prompt_score(Reads(), conditions, None, features, features) is None
    assert prompt_score(Reads(), conditions, numbers, None, features) is None
