from dataclasses import astuple

import numpy as np
import pytest
import torch
from torch import Tensor

from advkd.distances import FeatureSet, ManifoldScores, manifold_deviations, manifold_scores
from tests.advkd.distances.parts import gathered, normal


def scored(fake: Tensor, reference: Tensor) -> ManifoldScores:
    scores = manifold_scores(gathered(fake), gathered(reference))
    assert scores is not None
    return scores


def test_identical_sets_cover_each_other() -> None:
    x = normal(50, 8, 0)
    scores = scored(x, x.flip(0))
    assert (scores.precision, scores.recall, scores.coverage) == (1.0, 1.0, 1.0)
    # Each ball holds its centre and the three nearest.
    assert scores.density == pytest.approx(4 / 3)


def test_equal_features_have_no_distance_also_far_from_the_origin() -> None:
    # Duplicates: all balls of the reference have the radius 0, and the equal fakes are within.
    x = normal(1, 8, 0, shift=1e4).repeat(40, 1)
    scores = scored(x[:30], x)
    assert (scores.precision, scores.recall, scores.coverage) == (1.0, 1.0, 1.0)
    # What differs by float32's smallest step is not equal.
    near = torch.nextafter(x, torch.tensor(torch.inf))
    assert scored(near, x).precision == 0.0


def test_disjoint_sets_do_not() -> None:
    assert scored(normal(50, 8, 0), normal(60, 8, 1, shift=100.0)) == ManifoldScores(
        precision=0.0, recall=0.0, density=0.0, coverage=0.0
    )


def test_a_collapsed_set_is_precise_but_recalls_little() -> None:
    scores = scored(normal(300, 4, 1, scale=0.05), normal(300, 4, 0))
    assert scores.precision == 1.0
    assert scores.recall < 0.1


def test_precision_and_recall_swap_with_their_arguments() -> None:
    x, y = normal(80, 4, 0), normal(90, 4, 1, shift=0.8)
    forth, back = scored(x, y), scored(y, x)
    assert (forth.precision, forth.recall) == (back.recall, back.precision)
    assert forth.precision != forth.recall
    assert 0.0 < forth.recall < 1.0


def test_a_wide_set_against_a_narrow_one_shows_which_is_the_fake() -> None:
    narrow, wide = normal(200, 4, 0, scale=0.3), normal(200, 4, 1)
    assert scored(narrow, wide).precision > 0.95 > 0.5 > scored(wide, narrow).precision


@pytest.mark.parametrize("block", [7, 1024])
def test_manifold_scores_match_a_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.distances.manifold.BLOCK", block)
    fake, reference = normal(20, 3, 0), normal(25, 3, 1, shift=0.7)

    def radius(points: Tensor, index: int) -> float:
        return sorted(float((points[index] - other).norm()) for other in points)[3]

    def inside(point: Tensor, centres: Tensor) -> int:
        return sum(float((point - c).norm()) <= radius(centres, i) for i, c in enumerate(centres))

    scores = scored(fake, reference)
    assert scores.precision == pytest.approx(sum(inside(f, reference) > 0 for f in fake) / 20)
    assert scores.recall == pytest.approx(sum(inside(r, fake) > 0 for r in reference) / 25)
    assert scores.density == pytest.approx(sum(inside(f, reference) for f in fake) / (3 * 20))
    covered = sum(any(float((f - r).norm()) <= radius(reference, i) for f in fake) for i, r in enumerate(reference))
    assert scores.coverage == pytest.approx(covered / 25)


def test_order_does_not_matter() -> None:
    x, y = normal(80, 4, 0), normal(90, 4, 1, shift=0.8)
    assert scored(x.flip(0), y.flip(0)) == scored(x, y)


def test_nearest_neighbours_need_enough_samples() -> None:
    with pytest.raises(ValueError, match="3 nearest neighbours need more samples than that, got 3"):
        scored(normal(3, 2, 0), normal(9, 2, 1))


def test_statistics_have_no_neighbours() -> None:
    x = gathered(normal(40, 4, 0))
    statistics = FeatureSet(name="statistics", moments=x.moments, features=None)
    assert manifold_scores(x, statistics) is None
    assert manifold_scores(statistics, x) is None
    assert manifold_deviations(x, statistics, paired=False) is None


@pytest.mark.parametrize("paired", [True, False])
def test_deviations_are_a_jackknife_over_groups(paired: bool) -> None:
    fake, reference = normal(80, 4, 0), normal(80, 4, 1, shift=0.8)
    stay = [[i for i in range(80) if i % 8 != group] for group in range(8)]
    parts = np.array([astuple(scored(fake[rows], reference[rows] if paired else reference)) for rows in stay])
    expected = np.sqrt(7 / 8 * ((parts - parts.mean(0)) ** 2).sum(0))
    deviations = manifold_deviations(gathered(fake), gathered(reference), paired=paired)
    assert deviations is not None
    assert astuple(deviations) == pytest.approx(expected, rel=1e-9)
    assert min(astuple(deviations)) > 0


def test_deviations_are_about_those_over_seeds() -> None:
    sets = [(normal(512, 8, seed, scale=0.8, shift=0.3), normal(512, 8, 100 + seed)) for seed in range(16)]
    seen = np.std([astuple(scored(*pair)) for pair in sets], axis=0)
    told = [manifold_deviations(gathered(fake), gathered(reference), paired=True) for fake, reference in sets[:4]]
    estimated = np.mean([astuple(each) for each in told if each is not None], axis=0)
    assert (estimated > 0.6 * seen).all()
    assert (estimated < 2.5 * seen).all()


def test_deviations_are_those_of_all_images_where_few_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, reference = normal(400, 4, 0), gathered(normal(100, 4, 1))
    of_part = manifold_deviations(gathered(fake[:100]), reference, paired=False)
    monkeypatch.setattr("advkd.distances.manifold.JACKKNIFED", 100)
    of_all = manifold_deviations(gathered(fake), reference, paired=False)
    assert of_part is not None
    assert of_all is not None
    assert astuple(of_all) == pytest.approx(np.array(astuple(of_part)) / 2)
    assert manifold_deviations(gathered(fake[:15]), reference, paired=False) is None
