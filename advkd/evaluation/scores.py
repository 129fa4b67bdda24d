"""Metrics with their protocol: which sets were compared, their sizes, and the features."""

from dataclasses import dataclass

from advkd.distances import (
    FeatureSet,
    frechet_deviation,
    frechet_distance,
    kernel_distance,
    manifold_deviations,
    manifold_scores,
    maximum_mean_discrepancy,
)
from advkd.features import Extractor

CMMD_EXTRACTOR = "clip"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure, and everything that is needed to compare it with another one.

    Attributes:
        name: name of the metric, such as "FD(digits)".
        value: value of the metric.
        deviation: its standard deviation over noises; None where it is not estimated.
        n_fake: number of evaluated samples.
        n_ref: number of reference samples; 0 if it is not known.
        reference: name of the reference samples, such as "teacher@100 unipc".
        extractor: name of the features' extractor, or "pixels".
        extractor_sha256: sha256 of the extractor's weights, "" for pixels.
        input: what the extractor's network takes: size, resizing and values, in words; "" for pixels.
    """

    name: str
    value: float
    deviation: float | None
    n_fake: int
    n_ref: int
    reference: str
    extractor: str
    extractor_sha256: str
    input: str


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All metrics of one set of samples against one reference; None where only statistics of the reference are known.

    CMMD is measured in CLIP's features alone.
    """

    fd: Metric
    kd: Metric | None
    precision: Metric | None
    recall: Metric | None
    density: Metric | None
    coverage: Metric | None
    cmmd: Metric | None

    def metrics(self) -> tuple[Metric, ...]:
        """Returns the metrics that were measured, in the order of display."""
        all_of_them = (self.fd, self.kd, self.precision, self.recall, self.density, self.coverage, self.cmmd)
        return tuple(metric for metric in all_of_them if metric is not None)


def frechet_metric(fake: FeatureSet, reference: FeatureSet, extractor: Extractor) -> Metric:
    """Computes only the Frechet distance."""
    return _metric("FD", frechet_distance(fake, reference), fake, reference, extractor)


def score(
    fake: FeatureSet, reference: FeatureSet, extractor: Extractor, *, deviations: bool = False, paired: bool = True
) -> Scores:
    """Computes all metrics of a set against a reference in the same features.

    Args:
        fake: the samples.
        reference: what they are compared with.
        extractor: extractor of both.
        deviations: whether to estimate deviations over noises, which takes eight times as long.
        paired: whether both are of the same noises.
    """
    cover, kernel = manifold_scores(fake, reference), kernel_distance(fake, reference)
    distance = frechet_distance(fake, reference)
    deviation = frechet_deviation(fake, reference, paired=paired) if deviations else None
    spread = manifold_deviations(fake, reference, paired=paired) if deviations and cover is not None else None
    cmmd = maximum_mean_discrepancy(fake, reference) if extractor.name == CMMD_EXTRACTOR else None

    def share(kind: str) -> Metric | None:
        if cover is None:
            return None
        moved = None if spread is None else getattr(spread, kind)
        return _metric(kind, getattr(cover, kind), fake, reference, extractor, moved)

    return Scores(
        fd=_metric("FD", distance, fake, reference, extractor, deviation),
        kd=None if kernel is None else _metric("KD", kernel.value, fake, reference, extractor, kernel.deviation),
        precision=share("precision"),
        recall=share("recall"),
        density=share("density"),
        coverage=share("coverage"),
        cmmd=None if cmmd is None else _metric("CMMD", cmmd, fake, reference, extractor),
    )


def _metric(
    kind: str,
    value: float,
    fake: FeatureSet,
    reference: FeatureSet,
    extractor: Extractor,
    deviation: float | None = None,
) -> Metric:
    return Metric(
        name=f"{kind}({extractor.name})",
        value=value,
        deviation=deviation,
        n_fake=fake.count,
        n_ref=reference.count,
        reference=reference.name,
        extractor=extractor.name,
        extractor_sha256=extractor.sha256,
        input=extractor.rule.words,
    )
