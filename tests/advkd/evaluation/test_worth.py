import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advkd.evaluation.worth import Worth, envelope, worth_passes

STEPS = (1, 2, 4, 5, 10, 20, 50)


@given(passes=st.floats(1.0, 50.0), scale=st.floats(1e-3, 1e4), power=st.floats(0.2, 4.0))
def test_worth_is_exact_on_a_power_law(passes: float, scale: float, power: float) -> None:
    points = [(n, scale * n**-power) for n in STEPS]
    distance = min(max(scale * passes**-power, points[-1][1]), points[0][1])
    worth = worth_passes(points, distance)
    assert not worth.clamped
    assert worth.passes == pytest.approx(passes, rel=1e-6)


def test_the_best_solver_counts_whatever_the_others_need() -> None:
    slow = [(n, 100.0 / n) for n in STEPS]
    fast = [(n, 100.0 / n**2) for n in (2, 5, 10)]
    # 4 is reached by the fast one after 5 passes, and by the slow one after 25.
    assert worth_passes(slow, 4.0).passes == pytest.approx(25.0)
    assert worth_passes([*slow, *fast], 4.0).passes == pytest.approx(5.0)
    assert worth_passes([*fast, *slow], 4.0) == worth_passes([*slow, *fast], 4.0)


def test_a_solver_that_gets_worse_does_not_count() -> None:
    assert envelope([(1, 9.0), (2, 3.0), (3, 5.0), (5, 3.0), (8, 1.0), (2, 4.0)]) == [(1, 9.0), (2, 3.0), (8, 1.0)]


def test_beyond_its_ends_the_curve_gives_a_bound() -> None:
    points = [(n, 100.0 / n) for n in STEPS]
    assert worth_passes(points, 100.1) == Worth(1.0, clamped=True)
    assert worth_passes(points, 100.0) == Worth(1.0, clamped=False)
    assert worth_passes(points, 2.0) == Worth(pytest.approx(50.0), clamped=False)
    assert worth_passes(points, 1.9) == Worth(50.0, clamped=True)
    assert worth_passes(points, 0.0) == Worth(50.0, clamped=True)


@pytest.mark.parametrize("distance", [math.nan, math.inf, -1.0])
def test_worth_of_a_distance_that_is_none(distance: float) -> None:
    with pytest.raises(ValueError, match="not negative and finite"):
        worth_passes([(n, 1.0 / n) for n in STEPS], distance)


def test_a_point_too_near_to_tell_from_the_target_is_no_fault() -> None:
    points = [(1, 8.0), (2, 1.0), (3, 0.0), (4, 0.0)]
    assert worth_passes(points, 0.0) == Worth(pytest.approx(3.0), clamped=False)
    assert 2.0 < worth_passes(points, 1e-3).passes < 3.0


def test_worth_needs_a_curve() -> None:
    with pytest.raises(ValueError, match="needs a curve"):
        worth_passes([], 1.0)
    with pytest.raises(ValueError, match=r"got \[nan\]"):
        worth_passes([(1, math.nan)], 1.0)
