"""The headline figure `worth`: how many teacher passes the best solver without training needs for a distance."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

SMALLEST = 1e-9


@dataclass(frozen=True)
class Worth:
    """A number of teacher passes.

    Attributes:
        passes: network passes of the teacher for one image.
        clamped: whether the curve ends before the distance: it is worth less than the first point, or more than the
            finest.
    """

    passes: float
    clamped: bool


def envelope(points: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns the best distance for at most so many passes, where it falls: passes rise and distances fall strictly.

    Args:
        points: passes and distance of the teacher, of several solvers, in any order.
    """
    best: list[tuple[int, float]] = []
    for passes, distance in sorted(points):
        if not best or distance < best[-1][1]:
            best.append((passes, distance))
    return best


def worth_passes(points: Iterable[tuple[int, float]], distance: float) -> Worth:
    """Returns the fewest passes whose distance equals `distance`, log-log on the lower envelope of all points.

    Args:
        points: passes and distance to the target of the teacher under solvers that need no training.
        distance: of the student to the same target, on the same noises.

    Raises:
        ValueError: there are no points, or a distance is negative or not finite.
    """
    points = list(points)
    wrong = [value for value in (distance, *(value for _, value in points)) if not (0.0 <= value < math.inf)]
    if wrong or not points:
        raise ValueError(
            f"a worth needs a curve, and distances that are not negative and finite, got {wrong} and {len(points)} "
            "points; check the samples for NaN"
        )
    # Rounding makes 0 of what is too small to tell.
    distance = max(distance, SMALLEST)
    best = envelope((passes, max(value, SMALLEST)) for passes, value in points)
    if distance > best[0][1]:
        return Worth(float(best[0][0]), clamped=True)
    if distance == best[0][1]:
        return Worth(float(best[0][0]), clamped=False)
    for (fewer, worse), (more, better) in pairwise(best):
        if distance >= better:
            share = math.log(worse / distance) / math.log(worse / better)
            return Worth(math.exp(math.log(fewer) + share * math.log(more / fewer)), clamped=False)
    return Worth(float(best[-1][0]), clamped=True)
