"""Distances between two sets of features: Frechet, kernel, CMMD, precision and recall; knows no images."""

from advkd.distances.cmmd import maximum_mean_discrepancy
from advkd.distances.feature_set import KEPT, Accumulator, FeatureSet, collected, rank_deficient, spread
from advkd.distances.frechet import frechet_deviation, frechet_distance
from advkd.distances.kernel import KernelDistance, kernel_distance
from advkd.distances.manifold import ManifoldScores, manifold_deviations, manifold_scores
from advkd.distances.moments import Moments
from advkd.distances.statistics import read_statistics, write_statistics
from advkd.distances.stored import set_arrays, set_of_arrays

__all__ = [
    "KEPT",
    "Accumulator",
    "FeatureSet",
    "KernelDistance",
    "ManifoldScores",
    "Moments",
    "collected",
    "frechet_deviation",
    "frechet_distance",
    "kernel_distance",
    "manifold_deviations",
    "manifold_scores",
    "maximum_mean_discrepancy",
    "rank_deficient",
    "read_statistics",
    "set_arrays",
    "set_of_arrays",
    "spread",
    "write_statistics",
]
