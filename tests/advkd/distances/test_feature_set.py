import pytest
import torch

import advkd.distances.feature_set as room
from advkd.distances import Accumulator, FeatureSet, Moments, collected, frechet_distance, rank_deficient
from tests.advkd.distances.parts import gathered, normal


@pytest.mark.parametrize("batch", [1, 7, 1500, 2500])
def test_batches_change_no_bit(batch: int) -> None:
    x = normal(2500, 5, 0)
    whole, parts = gathered(x), collected("set", x.split(batch))
    assert torch.equal(whole.moments.mean, parts.moments.mean)
    assert torch.equal(whole.moments.covariance, parts.moments.covariance)
    assert parts.features is not None
    assert torch.equal(parts.features, x)


def test_the_moments_are_those_of_all_features_at_once() -> None:
    x = normal(2500, 5, 0, shift=3.0)
    moments, expected = gathered(x).moments, Moments.of(x)
    assert moments.count == 2500
    torch.testing.assert_close(moments.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moments.covariance, expected.covariance, rtol=1e-10, atol=1e-12)


def test_no_more_than_the_first_features_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 100)
    x = normal(250, 3, 0)
    gathering = Accumulator(3)
    for batch in x.split(40):
        gathering.add(batch)
    features = gathering.finished("set")
    assert features.count == 250
    assert features.features is not None
    assert torch.equal(features.features, x[:100])
    torch.testing.assert_close(features.moments.covariance, Moments.of(x).covariance)


def test_what_was_added_is_not_what_the_caller_changes_later() -> None:
    x = normal(20, 3, 0)
    gathering, buffer = Accumulator(3), torch.empty(10, 3)
    for batch in x.split(10):
        gathering.add(buffer.copy_(batch))
    assert frechet_distance(gathering.finished("set"), gathered(x)) == 0.0


def test_a_set_may_be_finished_in_between() -> None:
    x = normal(30, 3, 0)
    gathering = Accumulator(3)
    gathering.add(x[:20])
    assert gathering.finished("half").count == 20
    gathering.add(x[20:])
    assert torch.equal(gathering.finished("whole").moments.covariance, gathered(x).moments.covariance)


def test_a_set_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="at least two samples, got 1 in pictures"):
        collected("pictures", normal(1, 3, 0))
    with pytest.raises(ValueError, match="at least two samples, got 0 in pictures"):
        collected("pictures", [])


def test_features_of_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[B, 3\], got \[2, 4\]"):
        Accumulator(3).add(torch.zeros(2, 4))


def test_features_that_are_not_finite_are_refused_by_their_image() -> None:
    gathering = Accumulator(3)
    gathering.add(normal(5, 3, 0))
    wrong = normal(5, 3, 1)
    wrong[2, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity for image 7"):
        gathering.add(wrong)


def test_a_set_keeps_as_many_features_as_it_says() -> None:
    x = normal(20, 3, 0)
    with pytest.raises(ValueError, match=r"keeps features \[20, 3\], got \[19, 3\] in set"):
        FeatureSet(name="set", moments=Moments.of(x), features=x[1:])


def test_as_many_images_as_dimensions_are_too_few() -> None:
    assert rank_deficient(gathered(normal(8, 8, 0)))
    assert not rank_deficient(gathered(normal(9, 8, 0)))
    moments = gathered(normal(8, 8, 0)).moments
    unknown = Moments(count=0, mean=moments.mean, covariance=moments.covariance)
    assert not rank_deficient(FeatureSet(name="published", moments=unknown, features=None))
