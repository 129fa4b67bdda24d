"""Metrics that carry their protocol: what was compared with what, how many of each, in which features."""

from dataclasses import dataclass

from torch import Tensor

from advkd.evaluation.distances import frechet_distance, kernel_distance, manifold_scores
from advkd.evaluation.features import Extractor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number and all that is needed to compare it with another.

    Attributes:
        name: as in "FD(digits)".
        value: the number.
        n_fake: samples judged.
        n_ref: samples they were judged against.
        reference: what those are, as in "teacher@50".
        extractor: the features, or "pixels".
        extractor_sha256: of the extractor's weights, "" for pixels.
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
        """In the order they are shown in."""
        return (self.fd, self.kd, self.precision, self.recall, self.density, self.coverage)


@dataclass(frozen=True)
class ReferenceSet:
    """What samples are judged against: its name and its features `[M, D]`."""

    name: str
    features: Tensor


def frechet_metric(fake: Tensor, reference: ReferenceSet, extractor: Extractor) -> Metric:
    """The Frechet distance alone, of features `[N, D]`."""
    value = frechet_distance(fake, reference.features)
    return _metric("FD", value, fake, reference, extractor)


def score(fake: Tensor, reference: ReferenceSet, extractor: Extractor) -> Scores:
    """All metrics of features `[N, D]` against a reference in the same features."""
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
