"""Metrics with their protocol: which sets were compared, their sizes, and the features."""

from dataclasses import dataclass

from torch import Tensor

from advkd.evaluation.distances import frechet_distance, kernel_distance, manifold_scores
from advkd.features import Extractor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure, and everything that is needed to compare it with another one.

    Attributes:
        name: name of the metric, such as "FD(digits)".
        value: value of the metric.
        n_fake: number of evaluated samples.
        n_ref: number of reference samples.
        reference: name of the reference samples, such as "teacher@50".
        extractor: name of the features' extractor, or "pixels".
        extractor_sha256: sha256 of the extractor's weights, "" for pixels.
    """

    name: str
    value: float
    n_fake: int
    n_ref: int
    reference: str
    extractor: str
    extractor_sha256: str


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All metrics of one set of samples against one reference."""

    fd: Metric
    kd: Metric
    precision: Metric
    recall: Metric
    density: Metric
    coverage: Metric

    def metrics(self) -> tuple[Metric, ...]:
        """Returns the metrics in the order of display."""
        return (self.fd, self.kd, self.precision, self.recall, self.density, self.coverage)


@dataclass(frozen=True)
class ReferenceSet:
    """A set that samples are compared with: its name and its features `[M, D]`."""

    name: str
    features: Tensor


def frechet_metric(fake: Tensor, reference: ReferenceSet, extractor: Extractor) -> Metric:
    """Computes only the Frechet distance, of features `[N, D]`."""
    value = frechet_distance(fake, reference.features)
    return _metric("FD", value, fake, reference, extractor)


def score(fake: Tensor, reference: ReferenceSet, extractor: Extractor) -> Scores:
    """Computes all metrics of features `[N, D]` against a reference in the same features."""
    cover = manifold_scores(fake, reference.features)
    kernel = kernel_distance(fake, reference.features)
    return Scores(
        fd=frechet_metric(fake, reference, extractor),
        kd=_metric("KD", kernel, fake, reference, extractor),
        precision=_metric("precision", cover.precision, fake, reference, extractor),
        recall=_metric("recall", cover.recall, fake, reference, extractor),
        density=_metric("density", cover.density, fake, reference, extractor),
        coverage=_metric("coverage", cover.coverage, fake, reference, extractor),
    )


def _metric(kind: str, value: float, fake: Tensor, reference: ReferenceSet, extractor: Extractor) -> Metric:
    return Metric(
        name=f"{kind}({extractor.name})",
        value=value,
        n_fake=len(fake),
        n_ref=len(reference.features),
        reference=reference.name,
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
    )
