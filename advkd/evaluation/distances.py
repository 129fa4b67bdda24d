"""Distances between two sets of feature vectors, and the headline figure `worth`: free functions of numbers.

Frechet distance: Heusel et al. 2017, https://arxiv.org/abs/1706.08500. Kernel distance: Binkowski et al. 2018,
https://arxiv.org/abs/1801.01401. Precision and recall: Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991.
Density and coverage: Naeem et al. 2020, https://arxiv.org/abs/2002.09797.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

NEIGHBOURS = 3
KERNEL_SUBSETS = 50
KERNEL_SUBSET_SIZE = 1000
CURVE_STEPS = (1, 2, 4, 5, 10, 20)


def frechet_distance(fake: Tensor, reference: Tensor) -> float:
    """Returns `|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))` of features `[N, D]`, `[M, D]`, by torchmetrics in float64.

    Raises:
        ValueError: a set has fewer than two samples, so it has no covariance.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(fake), len(reference)) < 2:
        raise ValueError(
            f"a covariance needs at least two samples, got {len(fake)} and {len(reference)}; evaluate more"
        )
    metric = FrechetInceptionDistance(_Precomputed(fake.shape[1]))
    metric.update(fake.double(), real=False)
    metric.update(reference.double(), real=True)
    # Rounding can give slightly negative values for equal sets.
    return max(0.0, float(metric.compute()))


def kernel_distance(fake: Tensor, reference: Tensor, seed: int = 0) -> float:
    """Returns the squared maximum mean discrepancy under the cubic kernel, by torchmetrics: mean of 50 random subsets.

    Args:
        fake: features `[N, D]`.
        reference: features `[M, D]`.
        seed: seed of the subsets (1000 samples of each set, or fewer if a set is smaller).
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KERNEL_SUBSET_SIZE, len(fake), len(reference))
    with warnings.catch_warnings():
        # torchmetrics warns that it keeps all features, which is intended.
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(_Precomputed(fake.shape[1]), subsets=KERNEL_SUBSETS, subset_size=size)
    metric.update(fake, real=False)
    metric.update(reference, real=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, _ = metric.compute()
    return float(mean)


@dataclass(frozen=True)
class ManifoldScores:
    """Scores of how well two sets cover each other, from their k nearest neighbours."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(fake: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> ManifoldScores:
    """Computes precision, recall, density and coverage of features `[N, D]` against features `[M, D]`.

    Precision is the share of fakes within the ball of a reference sample, recall the share of reference samples within
    the ball of a fake. The radius of a ball is the distance of its centre to its k-th nearest neighbour in its own set.
    """
    smallest = min(len(fake), len(reference))
    if smallest <= neighbours:
        raise ValueError(f"{neighbours} nearest neighbours need more samples than that, got {smallest}; evaluate more")
    fake_radii, reference_radii = _radii(fake, neighbours), _radii(reference, neighbours)
    between = _distances(reference, fake)
    in_reference_ball = between <= reference_radii[:, None]
    in_fake_ball = between <= fake_radii[None, :]
    return ManifoldScores(
        precision=in_reference_ball.any(0).float().mean().item(),
        recall=in_fake_ball.any(1).float().mean().item(),
        density=in_reference_ball.sum().item() / (neighbours * len(fake)),
        coverage=in_reference_ball.any(1).float().mean().item(),
    )


@dataclass(frozen=True)
class Worth:
    """The number of teacher steps that a distance is worth; `clamped` if the curve ends before the distance."""

    steps: float
    clamped: bool


def worth_steps(curve: Mapping[int, float], fd: float) -> Worth:
    """Returns the fewest teacher steps whose distance to teacher@50 equals `fd`, by log-log interpolation on the curve.

    Args:
        curve: distance of the teacher at 1, 2, 4, 5, 10, 20 steps; other numbers of steps are not used.
        fd: distance of the student, measured on the same noises.

    Raises:
        ValueError: a number of steps is missing, or a distance is not positive and finite.
    """
    missing = [steps for steps in CURVE_STEPS if steps not in curve]
    if missing:
        raise ValueError(f"a curve needs the teacher at {CURVE_STEPS} steps, got none at {missing}; evaluate them")
    points = [(steps, curve[steps]) for steps in CURVE_STEPS]
    wrong = [value for _, value in points if not (value > 0.0 and math.isfinite(value))]
    if wrong or not (fd >= 0.0 and math.isfinite(fd)):
        raise ValueError(
            f"distances on a curve must be positive and finite, got {wrong or fd}; check the samples for NaN"
        )
    if fd > points[0][1]:
        return Worth(float(points[0][0]), clamped=True)
    for (fewer, worse), (more, better) in pairwise(points):
        if fd >= better:
            if worse <= better:
                return Worth(float(fewer), clamped=False)
            share = math.log(worse / fd) / math.log(worse / better)
            return Worth(math.exp(math.log(fewer) + share * math.log(more / fewer)), clamped=False)
    return Worth(float(points[-1][0]), clamped=True)


class _Precomputed(nn.Identity):
    """Takes the place of torchmetrics' feature network, because the features are already computed."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.num_features = dims


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    # Without the matrix-product shortcut, the distance of equal features is exactly 0.
    return torch.cdist(rows.float(), columns.float(), compute_mode="donot_use_mm_for_euclid_dist")


def _radii(features: Tensor, neighbours: int) -> Tensor:
    # The nearest neighbour is the sample itself.
    return _distances(features, features).kthvalue(neighbours + 1, dim=1).values
